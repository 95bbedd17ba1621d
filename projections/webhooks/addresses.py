"""Where webhooks may go: not to where only this machine, or its network, can be asked (server-side request forgery)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""The addresses of a host and port, as text. Raises OSError."""

MAX_URL = 2000
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_IPV4 = 0xFFFFFFFF


class ForbiddenTarget(Exception):
    """A URL that no webhook is sent to; the message says why."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses that the system knows of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


def check_url(url: str, *, private: bool) -> SplitResult:
    """The parts of a URL that webhooks may be sent to; ``private``: also without TLS. Raises ForbiddenTarget."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ForbiddenTarget("This is not a URL.") from error
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ForbiddenTarget(f"A URL is printable ASCII without spaces, of at most {MAX_URL} characters.")
    if parts.scheme not in ({"https", "http"} if private else {"https"}):
        told = "or http://" if private else "unless LEDGER_WEBHOOK_PRIVATE allows http://, too"
        raise ForbiddenTarget(f"The URL must begin with https:// {told}.")
    if not parts.hostname or port == 0:
        raise ForbiddenTarget("The URL names no host.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ForbiddenTarget("The URL must have neither a user nor a fragment.")
    return parts


def port_of(parts: SplitResult) -> int:
    """The port of an http or https URL."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def allowed_addresses(host: str, port: int, resolver: Resolver, *, private: bool) -> Sequence[str]:
    """The addresses of the host, all of them having been looked at. Raises ForbiddenTarget, OSError."""
    addresses = resolver(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    for text in addresses:
        if not private and not is_public(ip_address(text.partition("%")[0])):
            raise ForbiddenTarget(f"{host} is at an address that is not public, and LEDGER_WEBHOOK_PRIVATE is not set.")
    return addresses


def is_public(address: Address) -> bool:
    """Whether it is a host of the internet, also when it is wrapped as an address of the other kind."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & _IPV4)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified
