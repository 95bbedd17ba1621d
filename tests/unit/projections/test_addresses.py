"""Where webhooks may go: every way there is to say an address of this machine or of its network."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from projections.webhooks.addresses import ForbiddenTarget, allowed_addresses, check_url, is_public, port_of

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_on_the_internet(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(ForbiddenTarget, match="not public"):
        allowed_addresses("shop.example", 443, lambda *_: ["8.8.8.8", address], private=False)
    assert allowed_addresses("shop.example", 443, lambda *_: [address], private=True) == [address]


def test_a_scope_hides_nothing() -> None:
    with pytest.raises(ForbiddenTarget):
        allowed_addresses("shop.example", 443, lambda *_: ["fe80::1%eth0"], private=False)


def test_a_host_without_addresses_is_not_there() -> None:
    with pytest.raises(OSError, match="no address"):
        allowed_addresses("shop.example", 443, lambda *_: [], private=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "http://shop.example/",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://:443/",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop.example:x/",
        "https://user@shop.example/",
        "https://user:secret@shop.example/",
        "https://:secret@shop.example/",
        "https://@shop.example/",
        "https://shop.example/#part",
        "https://shop.example/ x",
        "https://shop.example\\@127.0.0.1/",
        "https://shop.example\\.other.example/",
        "https://shop.example/\r\nX-Other: 1",
        "https://shop.example/\t",
        "https://sh\N{LATIN SMALL LETTER O WITH DIAERESIS}p.example/",
        "https://[::1/",
        "https://shop.example/" + "x" * 2000,
    ],
)
def test_urls_that_nothing_is_sent_to(url: str) -> None:
    with pytest.raises(ForbiddenTarget):
        check_url(url, private=False)


def test_without_tls_only_where_it_is_allowed() -> None:
    assert check_url("http://shop.example/hooks?a=1", private=True).hostname == "shop.example"
    assert check_url("https://shop.example:8443/hooks?a=1", private=False).port == 8443


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://shop.example/", 443),
        ("http://shop.example/", 80),
        ("https://shop.example:8443/", 8443),
        ("http://shop.example:8080/", 8080),
    ],
)
def test_the_port_of_a_url(url: str, port: int) -> None:
    assert port_of(check_url(url, private=True)) == port
