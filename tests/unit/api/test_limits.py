"""Limits for users and addresses, and what every answer tells browsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from api.auth import TokenPolicy, TokenVerifier
from api.limits import LimitPolicy, client_address
from scripts.bootstrap import Runtime
from tests.unit.api.conftest import SECRET, SetClock, Tokens

BOARD = "/leads/statuses"


@pytest.fixture
def limited(runtime: Runtime, clock: SetClock) -> Callable[..., FlaskClient]:
    """A client of a server with these limits."""

    def make(**policy: Any) -> FlaskClient:
        verifier = TokenVerifier(TokenPolicy(secret=SECRET), clock)
        app: Flask = create_app(runtime.services, verifier, limits=LimitPolicy(**policy))
        return app.test_client()

    return make


def statuses(client: FlaskClient, times: int, path: str = BOARD, **request: Any) -> list[int]:
    return [client.get(path, **request).status_code for _ in range(times)]


def from_address(address: str) -> dict[str, str]:
    return {"REMOTE_ADDR": address}


def test_without_limits_nobody_is_counted(client: FlaskClient, alice: dict[str, str]) -> None:
    answer = client.get(BOARD, headers=alice)

    assert answer.status_code == 200
    assert not {"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit"} & set(answer.headers.keys())


def test_users_are_counted_apart(limited: Any, tokens: Tokens) -> None:
    client = limited(user="3/hour")

    assert statuses(client, 5, headers=tokens.headers(1)) == [200, 200, 200, 429, 429]
    assert statuses(client, 1, headers=tokens.headers(2)) == [200]
    assert statuses(client, 5, path="/orders/demo-cart") == [200] * 5


def test_a_user_has_one_quota_for_all_tokens_and_routes(limited: Any, tokens: Tokens, clock: SetClock) -> None:
    client = limited(user="2/hour")

    assert statuses(client, 1, headers=tokens.headers(1)) == [200]
    clock.advance(1)
    assert statuses(client, 2, path="/orders", headers=tokens.headers(1)) == [200, 429]


def test_what_is_refused_does_nothing(limited: Any, tokens: Tokens, runtime: Runtime, is_problem: Any) -> None:
    client = limited(user="1/hour")
    client.post("/orders/new", json=["1"], headers=tokens.headers(1))

    refused = client.post("/orders/new", json=["1"], headers=tokens.headers(1))

    document = is_problem(refused, "too-many-requests", 429)
    assert "1 each 3600 seconds" in document["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600
    assert runtime.services.health.head() == 1


def test_answers_say_what_is_left(limited: Any, tokens: Tokens) -> None:
    client = limited(user="10/minute", address="20/hour")

    client.get(BOARD, headers=tokens.headers(1))
    headers = client.get(BOARD, headers=tokens.headers(1)).headers

    assert set(headers["RateLimit-Policy"].split(", ")) == {'"user";q=10;w=60', '"address";q=20;w=3600'}
    left = dict(part.rpartition(";t=")[::2] for part in headers["RateLimit"].split(", "))
    assert set(left) == {'"user";r=8', '"address";r=18'}
    assert all(1 <= int(seconds) <= 3600 for seconds in left.values())


@pytest.mark.parametrize(
    "policy", [{"user": "1/minute", "address": "1/hour"}, {"user": "1/hour", "address": "1/minute"}]
)
def test_of_two_limits_that_are_reached_both_are_said(limited: Any, tokens: Tokens, policy: dict[str, str]) -> None:
    client = limited(**policy)
    client.get(BOARD, headers=tokens.headers(1))

    refused = client.get(BOARD, headers=tokens.headers(1))

    assert "1 each 60 seconds" in refused.json["detail"]
    assert "1 each 3600 seconds" in refused.json["detail"]
    left = dict(part.split(";r=0;t=") for part in refused.headers["RateLimit"].split(", "))
    assert set(left) == {'"user"', '"address"'}
    assert int(refused.headers["Retry-After"]) >= max(map(int, left.values())) - 1


def test_addresses_are_counted_apart_with_and_without_tokens(limited: Any, tokens: Tokens) -> None:
    client = limited(address="2/hour")

    assert statuses(client, 1, environ_base=from_address("192.0.2.1"), headers=tokens.headers(1)) == [200]
    assert statuses(client, 2, environ_base=from_address("192.0.2.1")) == [401, 429]
    assert statuses(client, 1, environ_base=from_address("192.0.2.2"), headers=tokens.headers(1)) == [200]


def test_a_refused_token_counts_for_its_address_and_for_no_user(limited: Any, tokens: Tokens) -> None:
    client = limited(user="1/hour", address="3/hour")
    forged = {"Authorization": f"Bearer {tokens.make(1, key='another secret that is just as long as it should be')}"}

    assert statuses(client, 1, headers=forged) == [401]
    assert statuses(client, 1, headers=tokens.headers(1)) == [200]
    assert statuses(client, 2, headers=forged) == [401, 429]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_answered_whatever_else(limited: Any, path: str) -> None:
    client = limited(address="1/hour")

    assert statuses(client, 2, path="/") == [200, 429]
    assert statuses(client, 3, path=path) == [200, 200, 200]


def test_notices_of_payments_are_never_refused_for_their_number(limited: Any) -> None:
    client = limited(address="1/hour")

    assert [client.post("/webhooks/stripe", data=b"{}").status_code for _ in range(3)] == [404, 404, 404]


def test_what_costs_nothing_to_answer_is_not_counted(limited: Any) -> None:
    client = limited(address="1/hour")

    assert statuses(client, 2, path="/nowhere") == [404, 404]
    assert client.post("/orders/demo-cart").status_code == 405
    assert statuses(client, 2, path="/") == [200, 429]


def test_a_client_can_not_invent_its_address(limited: Any) -> None:
    client = limited(address="2/hour")
    assert [statuses(client, 1, "/", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(3)][-1] == [429]

    behind = limited(address="2/hour", proxies=1)
    invented = [{"X-Forwarded-For": f"192.0.2.{n}, 198.51.100.7"} for n in range(3)]
    assert [statuses(behind, 1, "/", headers=headers) for headers in invented] == [[200], [200], [429]]


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "counted"),
    [
        ("192.0.2.1", None, 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 1, "198.51.100.7"),
        ("192.0.2.1", "203.0.113.9, 198.51.100.7", 1, "198.51.100.7"),
        ("192.0.2.1", "203.0.113.9, 198.51.100.7", 2, "203.0.113.9"),
        ("192.0.2.1", "198.51.100.7", 2, None),
        ("192.0.2.1", None, 1, None),
        ("192.0.2.1", "unknown", 1, None),
        ("2001:db8:1:2:3:4:5:6", None, 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", None, 0, "192.0.2.1"),
        ("", "[2001:db8::1]", 1, "2001:db8::/64"),
        ("", "198.51.100.7:41234", 1, "198.51.100.7"),
        ("", "[2001:db8::1]:41234", 1, "2001:db8::/64"),
        (None, None, 0, None),
        ("", None, 0, None),
    ],
)
def test_whose_requests_are_counted(remote: str | None, forwarded: str | None, proxies: int, counted: str) -> None:
    assert client_address(remote, forwarded, proxies) == counted


@pytest.mark.parametrize("path", ["/", "/healthz", "/orders", "/nope", "/docs", "/problems/not-found", "/metrics"])
def test_every_answer_tells_browsers_what_not_to_do(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    [policy] = headers.getlist("Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
