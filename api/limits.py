"""How often one user, and one address, may ask: counted by flask-limiter, told in the fields of the IETF's draft.

``RateLimit-Policy`` names the quota and its window in seconds, ``RateLimit`` what is left of it, and the seconds until
more is: draft-ietf-httpapi-ratelimit-headers-09. Windows slide: nobody gets twice the quota around a boundary.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from math import ceil
from typing import NamedTuple, cast

from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded, RequestLimit
from limits.storage import Storage, storage_from_string

from api.problems import Answer, problem

USER = "user"
ADDRESS = "address"
EXEMPT = frozenset({"/healthz", "/readyz", "/metrics", "/webhooks/stripe"})
"""Probes must see the truth, and notices of payments are signed: refused, they would only come again."""

_STORE_TIMEOUTS: dict[str, str | int] = {"socket_timeout": 1, "socket_connect_timeout": 1}
"""Seconds that counting may take; after that this process counts by itself until the store is back."""

_log = logging.getLogger(__name__)
_with_port = re.compile(r"(?:([0-9.]+)|\[(.+)\]):[0-9]+").fullmatch
_IPV6_NETWORK = 64
"""Bits of an IPv6 address that tell households apart: the rest is the household's to change at will."""


@dataclass(frozen=True)
class LimitPolicy:
    """How many requests are answered: ``user`` and ``address`` are such as ``600/minute``, or ``None`` for any number.

    ``store`` is where they are counted, as a URL of the limits library. ``proxies`` is how many proxies stand in front
    of this server, each of which adds the address that it was asked from to X-Forwarded-For.
    """

    user: str | None = None
    address: str | None = None
    store: str = "memory://"
    proxies: int = 0


UNLIMITED = LimitPolicy()


class Window(NamedTuple):
    """How many requests are left, and the seconds until there are more."""

    left: int
    seconds: int


def enforce_limits(app: Flask, policy: LimitPolicy, caller: Callable[[], int | None], answer: Answer = problem) -> None:
    """Makes ``app`` answer 429 to whoever asks more often; ``caller`` is the user of a request, if it has one."""
    if policy.user is None and policy.address is None:
        return  # not even a look costs anything then
    wanted = (
        _limit(ADDRESS, policy.address, lambda: _address(policy.proxies)),
        _limit(USER, policy.user, lambda: _user(caller)),
    )
    limiter = Limiter(
        lambda: "",
        application_limits=[limit for limit in wanted if limit is not None],
        storage_uri=policy.store,
        storage_options=_STORE_TIMEOUTS,
        strategy="sliding-window-counter",
        in_memory_fallback_enabled=True,
        swallow_errors=True,  # which it logs: of several requests that find the store gone, it counts one by itself
        key_prefix="order-ledger",
        fail_on_first_breach=False,
    )
    limiter.init_app(app)

    def windows() -> list[Window] | None:
        """How the limits of this request stand; ``None``: the store went away after it had counted."""
        try:
            return [Window(max(0, limit.remaining), _seconds_left(limit)) for limit in limiter.current_limits]
        except Exception as error:  # of whatever store
            _log.warning("what is left of limits can't be told: %s", error)
            return None

    @app.errorhandler(RateLimitExceeded)
    def refuse(_: RateLimitExceeded) -> Response:
        return _refused(limiter.current_limits, windows(), answer)

    @app.after_request
    def tell(response: Response) -> Response:
        told = windows()
        if told:  # else the answer stands all the same: what was asked for has been done
            _tell(response, limiter.current_limits, told)
        return response


def store_answers(store: str) -> bool:
    """Whether counts can be kept there."""
    return cast("Storage", storage_from_string(store, **_STORE_TIMEOUTS)).check()


def client_address(remote: str | None, forwarded: str | None, proxies: int) -> str | None:
    """Whom a limit counts: an IPv4 address or an IPv6 network; ``None`` where it can't be known.

    Of X-Forwarded-For only what our own proxies have added is believed, the rest is the client's to invent.
    """
    if proxies:
        hops = [hop.strip() for hop in (forwarded or "").split(",")]
        remote = hops[-proxies] if len(hops) >= proxies else None
    try:
        address = ip_address(_without_port(remote or ""))
    except ValueError:
        return None
    if address.version == 4:  # noqa: PLR2004  # of the Internet Protocol
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ip_network((int(address), _IPV6_NETWORK), strict=False))


def _without_port(hop: str) -> str:
    """The address of a hop: some proxies write the port behind it (RFC 7239, section 6)."""
    found = _with_port(hop)
    return found[1] or found[2] if found else hop.strip("[]")


def _limit(name: str, amount: str | None, key: Callable[[], str]) -> ApplicationLimit | None:
    if amount is None:
        return None
    return ApplicationLimit(
        amount, key_function=key, scope=name, exempt_when=lambda: request.path in EXEMPT or not key()
    )


def _address(proxies: int) -> str:
    return client_address(request.remote_addr, request.headers.get("X-Forwarded-For"), proxies) or ""


def _user(caller: Callable[[], int | None]) -> str:
    if "limited_user" not in g:
        g.limited_user = caller()
    return "" if g.limited_user is None else str(g.limited_user)


def _refused(limits: list[RequestLimit], windows: list[Window] | None, answer: Answer) -> Response:
    breached = [limit for limit in limits if limit.breached]
    whole = [Window(0, limit.limit.get_expiry()) for limit in limits]
    pairs = zip(limits, windows or whole, strict=True)
    seconds = max(window.seconds for limit, window in pairs if limit.breached)
    allowed = ", ".join(f"{limit.limit.amount} each {limit.limit.get_expiry()} seconds" for limit in breached)
    detail = f"That was one request too many: allowed are {allowed}."
    return answer("too-many-requests", detail, headers={"Retry-After": str(seconds)})


def _tell(response: Response, limits: list[RequestLimit], windows: list[Window]) -> None:
    names = [limit.request_args[-1] for limit in limits]
    response.headers["RateLimit-Policy"] = ", ".join(
        f'"{name}";q={limit.limit.amount};w={limit.limit.get_expiry()}'
        for name, limit in zip(names, limits, strict=True)
    )
    response.headers["RateLimit"] = ", ".join(
        f'"{name}";r={window.left};t={window.seconds}' for name, window in zip(names, windows, strict=True)
    )


def _seconds_left(limit: RequestLimit) -> int:
    return max(1, ceil(limit.reset_at - time.time()))
