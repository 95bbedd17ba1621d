"""The order endpoints."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from ledger.cart import MAX_ITEMS
from ledger.payments.gateway import PaymentNotice

KEYS = ["id", "userId", "date", "products", "amountInCents", "clientSecret", "status"]


def place(client: Any, headers: Any, *items: Any, **more: str) -> dict[str, Any]:
    response = client.post("/orders/new", headers={**headers, **more}, json=list(items or ("1",)))
    assert response.status_code == 201, response.text
    order: dict[str, Any] = response.json
    return order


def test_the_demo_cart_becomes_an_order(client: Any, alice: Any) -> None:
    cart = client.get("/orders/demo-cart").json
    assert len(cart) >= 6
    assert all(list(line) == ["id", "name", "quantity", "priceInCents"] for line in cart)
    response = client.post("/orders/new", headers=alice, json=cart)
    order = response.json
    assert response.status_code == 201
    assert response.content_type == "application/json"
    assert list(order) == KEYS
    assert order["products"] == cart
    assert order["amountInCents"] == sum(line["quantity"] * line["priceInCents"] for line in cart)
    assert (order["userId"], order["status"]) == (1, "pending")
    assert order["date"].endswith("Z")
    assert response.headers["Location"] == f"/orders/{order['id']}"
    assert response.headers["ETag"] == '"1"'
    assert "Idempotency-Replayed" not in response.headers
    detail = client.get(response.headers["Location"], headers=alice)
    assert (detail.status_code, detail.data) == (200, response.data)


def test_products_by_reference_merge(client: Any, alice: Any) -> None:
    order = place(client, alice, "1", "TEE-ORGANIC-M", {"id": 1, "quantity": 3}, {"id": 2, "quantity": 1, "name": "x"})
    assert [(line["id"], line["quantity"]) for line in order["products"]] == [(1, 5), (2, 1)]
    assert order["products"][1]["name"] == "Stoneware Mug, 350 ml"


@pytest.mark.parametrize(
    ("body", "slug", "paths"),
    [
        ([], "invalid-cart", {""}),
        (["1"] * (MAX_ITEMS + 1), "invalid-cart", {""}),
        ([1] * (MAX_ITEMS + 1), "invalid-cart", {""}),
        (["nothing"], "invalid-cart", {"0"}),
        ([""], "invalid-cart", {"0"}),
        (["1", {"id": 99, "quantity": 1}], "invalid-cart", {"1.id"}),
        ([{"id": 0, "quantity": 1}], "invalid-cart", {"0.id"}),
        ([{"id": 1, "quantity": 0}], "invalid-cart", {"0.quantity"}),
        ([{"id": 1, "quantity": -1}], "invalid-cart", {"0.quantity"}),
        ([{"id": 1, "quantity": 10_001}], "invalid-cart", {"0.quantity"}),
        ([{"id": 1, "quantity": 1, "priceInCents": 1}], "invalid-cart", {"0.priceInCents"}),
        ([{"id": 4, "quantity": 10_000}], "invalid-cart", {""}),
        ({}, "invalid-body", {""}),
        ({"id": 1, "quantity": 1}, "invalid-body", {""}),
        ("1", "invalid-body", {""}),
        (False, "invalid-body", {""}),
        (1, "invalid-body", {""}),
        ([1], "invalid-body", {"0"}),
        ([None], "invalid-body", {"0"}),
        ([True], "invalid-body", {"0"}),
        ([["1"]], "invalid-body", {"0"}),
        ([{}], "invalid-body", {"0.id", "0.quantity"}),
        ([{"id": 1}], "invalid-body", {"0.quantity"}),
        ([{"id": "1", "quantity": 1}], "invalid-body", {"0.id"}),
        ([{"id": 1.0, "quantity": 1}], "invalid-body", {"0.id"}),
        ([{"id": True, "quantity": 1}], "invalid-body", {"0.id"}),
        ([{"id": None, "quantity": 1}], "invalid-body", {"0.id"}),
        ([{"id": 1, "quantity": "1"}], "invalid-body", {"0.quantity"}),
        ([{"id": 1, "quantity": 1.5}], "invalid-body", {"0.quantity"}),
        ([{"id": 1, "quantity": False}], "invalid-body", {"0.quantity"}),
        ([{"id": 1, "quantity": None}], "invalid-body", {"0.quantity"}),
        ([{"id": 1, "quantity": [1]}], "invalid-body", {"0.quantity"}),
        ([{"id": 1, "quantity": 1, "priceInCents": "1999"}], "invalid-body", {"0.priceInCents"}),
        ([{"id": 1, "quantity": 1, "priceInCents": None}], "invalid-body", {"0.priceInCents"}),
        ([{"id": 1, "quantity": 1, "name": 1}], "invalid-body", {"0.name"}),
        (["1", {"id": 1, "quantity": 1, "colour": "red"}], "invalid-body", {"1.colour"}),
        ([{"id": "x", "quantity": 1}, "1", {"quantity": 0.5}], "invalid-body", {"0.id", "2.id", "2.quantity"}),
    ],
)
def test_bad_carts(*, client: Any, alice: Any, is_problem: Any, runtime: Any, body: Any, slug: str, paths: Any) -> None:
    document = is_problem(client.post("/orders/new", headers=alice, json=body), slug, 400)
    assert set(document["errors"]) == paths
    assert all(message for messages in document["errors"].values() for message in messages)
    assert runtime.services.health.head() == 0


def test_the_list_is_newest_first_and_ones_own(client: Any, alice: Any, tokens: Any, staff: Any) -> None:
    assert client.get("/orders", headers=alice).data == b"[]"
    first, second = place(client, alice, "1"), place(client, alice, "2")
    place(client, tokens.headers(2), "3")
    response = client.get("/orders", headers=alice)
    assert response.json == [second, first]
    assert response.headers["Cache-Control"] == "no-store"
    assert "Link" not in response.headers
    assert client.get("/orders", headers=staff).json == []


def test_who_sees_an_order(client: Any, alice: Any, tokens: Any, is_problem: Any) -> None:
    order = place(client, alice)
    path = f"/orders/{order['id']}"
    for role in ("staff", "auditor", "admin"):
        assert client.get(path, headers=tokens.headers(2, role=role)).json == order | {"clientSecret": ""}
    hidden = is_problem(client.get(path, headers=tokens.headers(2)), "no-such-order", 404)
    absent = is_problem(client.get("/orders/4711", headers=alice), "no-such-order", 404)
    assert hidden["detail"].replace(str(order["id"]), "") == absent["detail"].replace("4711", "")


@pytest.mark.parametrize(
    "order_id",
    ["0", "-1", "+1", "01", "1.0", "1e0", "abc", "9007199254740992", "99999999999999999999", "\u0661", "1%20"],
)
def test_ids_that_no_order_has(client: Any, alice: Any, is_problem: Any, order_id: str) -> None:
    is_problem(client.get(f"/orders/{order_id}", headers=alice), "not-found", 404)


def test_the_largest_id(client: Any, alice: Any, is_problem: Any) -> None:
    is_problem(client.get("/orders/9007199254740991", headers=alice), "no-such-order", 404)


@pytest.mark.parametrize("status", ["Cancelled", "cancelled", "CANCELLED"])
def test_a_status_update(client: Any, alice: Any, status: str) -> None:
    order = place(client, alice)
    for _ in range(2):
        response = client.post("/orders/status-update", headers=alice, json={"orderId": order["id"], "status": status})
        assert response.status_code == 200
        assert response.data == b'{"id":%d,"status":"cancelled"}' % order["id"]
    detail = client.get(f"/orders/{order['id']}", headers=alice)
    assert detail.json == {**order, "status": "cancelled"}
    assert detail.headers["ETag"] == '"2"'


@pytest.mark.parametrize("status", ["Awaiting Payment", "awaiting_payment", "AWAITING-payment"])
def test_words_of_a_status(client: Any, alice: Any, staff: Any, status: str) -> None:
    body = {"orderId": place(client, alice)["id"], "status": status}
    assert client.post("/orders/status-update", headers=staff, json=body).json["status"] == "awaiting_payment"


def test_refused_moves(*, client: Any, alice: Any, tokens: Any, staff: Any, is_problem: Any, runtime: Any) -> None:
    order_id = place(client, alice)["id"]
    head = runtime.services.health.head()

    def refused(slug: str, status: str, headers: Any, order: int = order_id) -> None:
        body = {"orderId": order, "status": status}
        is_problem(client.post("/orders/status-update", headers=headers, json=body), slug, 400)

    refused("unknown-status", "paid", alice)
    refused("unknown-status", "", alice)
    refused("unknown-status", "x" * 10_000, alice)
    refused("unknown-order", "cancelled", alice, order=4711)
    refused("unknown-order", "cancelled", tokens.headers(2))
    refused("illegal-move", "shipped", staff)
    refused("move-not-allowed", "declined", alice)
    refused("move-not-allowed", "cancelled", tokens.headers(2, role="auditor"))
    refused("payment-not-confirmed", "order_paid", alice)
    refused("payment-not-confirmed", "completed", alice)
    assert runtime.services.health.head() == head


def test_a_paid_order(client: Any, alice: Any, staff: Any, is_problem: Any, runtime: Any) -> None:
    order_id = place(client, alice)["id"]
    notice = runtime.sandbox.settle(order_id)
    assert isinstance(notice, PaymentNotice)
    body = {"orderId": order_id, "status": "Order Paid"}
    assert client.post("/orders/status-update", headers=alice, json=body).json == {
        "id": order_id,
        "status": "order_paid",
    }
    body["status"] = "Cancelled"
    is_problem(client.post("/orders/status-update", headers=staff, json=body), "refund-required", 400)


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ([], {""}),
        ("x", {""}),
        (False, {""}),
        ({}, {"orderId", "status"}),
        ({"orderId": 1}, {"status"}),
        ({"orderId": "1", "status": "pending"}, {"orderId"}),
        ({"orderId": 1.0, "status": "pending"}, {"orderId"}),
        ({"orderId": True, "status": "pending"}, {"orderId"}),
        ({"orderId": 0, "status": "pending"}, {"orderId"}),
        ({"orderId": -5, "status": "pending"}, {"orderId"}),
        ({"orderId": 1, "status": 1}, {"status"}),
        ({"orderId": 1, "status": None}, {"status"}),
        ({"orderId": 1, "status": ["pending"]}, {"status"}),
        ({"orderId": 1, "status": "pending", "force": True}, {"force"}),
        ([{"orderId": 1, "status": "pending"}], {""}),
    ],
)
def test_bad_status_updates(*, client: Any, alice: Any, is_problem: Any, body: Any, paths: Any) -> None:
    document = is_problem(client.post("/orders/status-update", headers=alice, json=body), "invalid-body", 400)
    assert set(document["errors"]) == paths


@pytest.mark.parametrize("path", ["/orders/new", "/orders/status-update"])
def test_null_is_no_body_that_means_anything(client: Any, alice: Any, is_problem: Any, path: str) -> None:
    is_problem(client.post(path, headers=alice, data=b"null", content_type="application/json"), "invalid-body", 400)


def test_who_and_why_reach_the_events(client: Any, tokens: Any, runtime: Any) -> None:
    headers = tokens.headers(1, role="staff", act={"sub": "77"})
    order_id = place(client, headers, **{"X-Request-Id": "from-the-shop", "Idempotency-Key": "key-1"})["id"]
    event = json.loads(runtime.services.ledger.history(order_id)[0].body)
    assert event["actor"] == {"user": 1, "role": "staff", "impersonated_by": 77}
    assert event["cause"]["request_id"] == "from-the-shop"
    assert event["cause"]["idempotency_key"] == "key-1"
    assert len(event["cause"]["request_hash"]) == 64


def test_many_threads(app: Any, tokens: Any) -> None:
    answers: list[int] = []

    def order(user: int) -> None:
        client = app.test_client()
        answers.extend(
            client.post("/orders/new", headers=tokens.headers(user), json=["1"]).status_code for _ in range(5)
        )

    threads = [threading.Thread(target=order, args=(user,)) for user in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [201] * 20
    assert len(app.test_client().get("/orders", headers=tokens.headers(1)).json) == 5
