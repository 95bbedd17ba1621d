"""Every error is a problem document, and every kind is explained."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.exceptions import RequestURITooLarge

from api.problem_types import PROBLEM_TYPES
from api.problems import MAX_ERRORS, Refusal
from ledger import errors
from ledger.errors import InvalidInput, LedgerError, OrderNotThereYet

LEDGER_STATUSES = {
    "forbidden": 403,
    "no-such-endpoint": 404,
    "version-mismatch": 412,
    "idempotency-key-reused": 422,
    "unreadable-event": 500,
} | dict.fromkeys(("busy", "storage-unavailable", "payments-unavailable", "order-not-there-yet"), 503)


def ledger_errors(kind: type[LedgerError] = LedgerError) -> Iterator[type[LedgerError]]:
    for below in kind.__subclasses__():
        if "code" in vars(below):
            yield below
        yield from ledger_errors(below)


def an(error: type[LedgerError]) -> LedgerError:
    return error({"0.id": ["wrong"]}) if issubclass(error, InvalidInput) else error("db.internal refused s3cret")


@pytest.mark.parametrize("kind", list(ledger_errors()), ids=lambda kind: kind.code)
def test_every_refusal_of_the_domain_is_a_problem(
    *, make_app: Any, raising: Any, alice: Any, is_problem: Any, kind: type[LedgerError], caplog: Any
) -> None:
    client = make_app(ledger=raising(an(kind))).test_client()
    response = client.post("/orders/new", headers=alice, json=["1"])
    status = LEDGER_STATUSES.get(kind.code, 400)
    document = is_problem(response, kind.code, status)
    if status >= 500:
        assert "s3cret" not in response.text
        assert "s3cret" in caplog.text
    if status == 503:
        assert int(response.headers["Retry-After"]) > 0
        again = "send the webhook again" if kind is OrderNotThereYet else "same Idempotency-Key"
        assert again in document["detail"]
    elif issubclass(kind, InvalidInput):
        assert document["errors"] == {"0.id": ["wrong"]}
    elif status < 500:
        assert document["detail"] == "db.internal refused s3cret"
        assert "errors" not in document


def test_there_are_refusals_of_the_domain_to_try() -> None:
    assert {kind.code for kind in ledger_errors()} >= {"invalid-cart", "busy", "version-mismatch", "unknown-order"}
    assert errors.Busy.code in PROBLEM_TYPES


@pytest.mark.parametrize(
    "path", ["/nope", "/orders/", "/orders/abc", "/orders/1/x", "/%00", "/orders/%ff", "/Orders", "/favicon.ico"]
)
def test_unknown_paths(client: Any, alice: Any, is_problem: Any, path: str) -> None:
    is_problem(client.get(path, headers=alice), "not-found", 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/orders", "GET, HEAD, OPTIONS"),
        ("GET", "/orders/new", "OPTIONS, POST"),
        ("DELETE", "/orders/status-update", "OPTIONS, POST"),
        ("PUT", "/orders/demo-cart", "GET, HEAD, OPTIONS"),
        ("PATCH", "/orders/1", "GET, HEAD, OPTIONS"),
        ("TRACE", "/orders/1", "GET, HEAD, OPTIONS"),
        ("POST", "/leads/statuses/order", "OPTIONS, PUT"),
        ("BREW", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_unknown_methods(client: Any, is_problem: Any, method: str, path: str, allowed: str) -> None:
    response = client.open(path, method=method)
    is_problem(response, "method-not-allowed", 405)
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/orders", "/orders/new", "/orders/1", "/leads/statuses/order", "/"])
def test_options(client: Any, path: str) -> None:
    response = client.options(path)
    assert (response.status_code, response.data) == (204, b"")
    assert "OPTIONS" in response.headers["Allow"]
    assert "Content-Type" not in response.headers


def test_head_is_get_without_the_body(client: Any, alice: Any) -> None:
    client.post("/orders/new", headers=alice, json=["1"])
    for path in ("/orders", "/orders/1", "/orders/demo-cart", "/healthz", "/orders/7"):
        get, head = client.get(path, headers=alice), client.head(path, headers=alice)
        assert head.status_code == get.status_code
        assert head.data == b""
        assert head.headers["Content-Length"] == str(len(get.data))
        assert head.content_type == get.content_type


def test_an_internal_error_tells_nothing_and_is_logged(
    make_app: Any, raising: Any, alice: Any, is_problem: Any, caplog: Any
) -> None:
    client = make_app(orders=raising(RuntimeError("password=hunter2"))).test_client()
    with caplog.at_level(logging.ERROR):
        response = client.get("/orders", headers={**alice, "X-Request-Id": "trace-me"})
    is_problem(response, "internal-error", 500)
    assert "hunter2" not in response.text
    assert "Traceback" in caplog.text
    assert "hunter2" in caplog.text
    assert "trace-me" in caplog.text


def test_other_http_errors_are_problems_too(make_app: Any, raising: Any, alice: Any) -> None:
    response = make_app(orders=raising(RequestURITooLarge())).test_client().get("/orders", headers=alice)
    assert response.status_code == 414
    assert response.content_type == "application/problem+json"
    assert response.json["type"] == "about:blank"


def test_long_lists_of_errors_are_cut(make_app: Any, raising: Any, alice: Any, is_problem: Any) -> None:
    error = Refusal("invalid-body", "bad", errors={str(n): ["bad"] for n in range(1000)})
    response = make_app(orders=raising(error)).test_client().get("/orders", headers=alice)
    assert len(is_problem(response, "invalid-body", 400)["errors"]) == MAX_ERRORS


@pytest.mark.parametrize("slug", list(PROBLEM_TYPES))
def test_every_problem_type_is_explained(client: Any, slug: str) -> None:
    response = client.get(f"/problems/{slug}")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert PROBLEM_TYPES[slug].title in response.text


def test_unknown_problem_types(client: Any, is_problem: Any) -> None:
    is_problem(client.get("/problems/nope"), "not-found", 404)


def test_explanations_show_code_as_code(client: Any) -> None:
    page = client.get("/problems/unauthenticated").text
    assert "<code>Authorization: Bearer ...</code>" in page
    assert "`" not in page


@pytest.mark.parametrize("path", ["", "/"])
def test_the_index_does_not_redirect(client: Any, path: str) -> None:
    response = client.get("/", environ_overrides={"PATH_INFO": path})
    assert response.status_code == 200
    assert response.json["documentation"] == "/docs"


def test_doubled_slashes_do_not_redirect(client: Any, is_problem: Any) -> None:
    is_problem(client.get("/", environ_overrides={"PATH_INFO": "/orders//demo-cart"}), "not-found", 404)
