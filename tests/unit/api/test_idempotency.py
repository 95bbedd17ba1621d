"""The Idempotency-Key header."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.idempotency import KEY_PATTERN, idempotency_key, request_hash
from api.problems import Refusal


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None),
        ("a", "a"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("YWJj/+==:x", "YWJj/+==:x"),
        ("x" * 255, "x" * 255),
        ('"abc"', "abc"),
        ('"a b,c;d"', "a b,c;d"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('" "', " "),
        (f'"{"x" * 255}"', "x" * 255),
        ('"' + r"\"" * 255 + '"', '"' * 255),
    ],
)
def test_keys(header: str | None, key: str | None) -> None:
    assert idempotency_key(header) == key
    assert header is None or re.search(KEY_PATTERN, header), "the documentation says the same"


@pytest.mark.parametrize(
    "header",
    [
        "",
        '""',
        "x" * 256,
        f'"{"x" * 256}"',
        "a b",
        "a,b",
        '"a","b"',
        '"a";p=1',
        "a;p=1",
        '"a',
        'a"',
        '"a"b"',
        '"a\\"',
        r'"a\b"',
        r"a\b",
        "k\xe4se",
        '"k\xe4se"',
        "a\tb",
        '"a\tb"',
        '"\x7f"',
        "\x00",
    ],
)
def test_malformed_keys(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        idempotency_key(header)
    assert refused.value.slug == "invalid-header"
    assert not re.search(KEY_PATTERN, header), "the documentation says the same"


def test_equal_requests_have_equal_hashes() -> None:
    body = {"b": [1, {"d": "ä", "c": None}], "a": 1.5}
    same = {"a": 1.5, "b": [1, {"c": None, "d": "\u00e4"}]}
    assert request_hash("create_order", body) == request_hash("create_order", same)
    assert re.fullmatch("[0-9a-f]{64}", request_hash("create_order", body))


def test_different_requests_have_different_hashes() -> None:
    hashes = {
        request_hash("create_order", body) for body in (["1"], ["1", "1"], [1], ["1", ["1"]], {}, [], None, "", "1")
    }
    assert len(hashes) == 9
    assert request_hash("create_order", []) != request_hash("change_status", [])


def test_a_repeat_answers_the_same(client: Any, alice: Any, runtime: Any) -> None:
    headers = {**alice, "Idempotency-Key": '"key 1"'}
    first = client.post("/orders/new", headers=headers, json=[{"id": 1, "quantity": 2}])
    assert "Idempotency-Replayed" not in first.headers
    client.post("/orders/status-update", headers=alice, json={"orderId": first.json["id"], "status": "cancelled"})
    again = client.post(
        "/orders/new", headers=headers, data=b'[ {"quantity": 2, "id": 1} ]', content_type="application/json"
    )
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.data) == (first.status_code, first.data)
    for name in ("ETag", "Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert runtime.services.health.head() == 2


def test_the_same_key_bare_and_quoted(client: Any, alice: Any) -> None:
    first = client.post("/orders/new", headers={**alice, "Idempotency-Key": "k1"}, json=["1"])
    again = client.post("/orders/new", headers={**alice, "Idempotency-Key": '"k1"'}, json=["1"])
    assert again.data == first.data


def test_a_key_with_another_body(client: Any, alice: Any, is_problem: Any) -> None:
    headers = {**alice, "Idempotency-Key": "k1"}
    order_id = client.post("/orders/new", headers=headers, json=["1"]).json["id"]
    is_problem(client.post("/orders/new", headers=headers, json=["2"]), "idempotency-key-reused", 422)
    body = {"orderId": order_id, "status": "cancelled"}
    is_problem(client.post("/orders/status-update", headers=headers, json=body), "idempotency-key-reused", 422)


def test_keys_are_per_user(client: Any, tokens: Any) -> None:
    ids = {
        client.post("/orders/new", headers={**tokens.headers(user), "Idempotency-Key": "k"}, json=["1"]).json["id"]
        for user in (1, 2, 3)
    }
    assert len(ids) == 3


def test_a_repeated_status_update(client: Any, alice: Any, staff: Any) -> None:
    order_id = client.post("/orders/new", headers=alice, json=["1"]).json["id"]
    headers = {**staff, "Idempotency-Key": "k", "If-Match": '"1"'}
    body = {"orderId": order_id, "status": "awaiting_payment"}
    first = client.post("/orders/status-update", headers=headers, json=body)
    client.post("/orders/status-update", headers=staff, json={"orderId": order_id, "status": "declined"})
    again = client.post("/orders/status-update", headers=headers, json=body)
    assert (again.status_code, again.data) == (200, first.data)
    assert first.headers["ETag"] == again.headers["ETag"] == '"2"'
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


def test_a_refused_request_does_not_use_up_its_key(client: Any, alice: Any) -> None:
    headers = {**alice, "Idempotency-Key": "k"}
    assert client.post("/orders/new", headers=headers, json=["nothing"]).status_code == 400
    assert client.post("/orders/new", headers=headers, json=["1"]).status_code == 201


def test_a_malformed_key_records_nothing(client: Any, alice: Any, is_problem: Any, runtime: Any) -> None:
    response = client.post("/orders/new", headers={**alice, "Idempotency-Key": '"'}, json=["1"])
    is_problem(response, "invalid-header", 400)
    assert runtime.services.health.head() == 0
