"""The specification's examples, to the letter, against a real server on each database."""

from __future__ import annotations

import re

import requests

from tests.support.server import Server, problem

KEYS = ["id", "userId", "date", "products", "amountInCents", "clientSecret", "status"]


def test_the_demo_cart_posted_unchanged_creates_an_order(server: Server) -> None:
    cart = requests.get(f"{server.url}/orders/demo-cart", timeout=10)
    assert cart.status_code == 200
    assert all(list(product) == ["id", "name", "quantity", "priceInCents"] for product in cart.json())
    customer = server.client(1)
    created = customer.post(f"{server.url}/orders/new", data=cart.content, headers={"Content-Type": "application/json"})
    assert created.status_code == 201
    order = created.json()
    assert list(order) == KEYS
    assert order["products"] == cart.json()
    assert order["amountInCents"] == sum(item["quantity"] * item["priceInCents"] for item in cart.json())
    assert (order["id"], order["userId"], order["status"]) == (1, 1, "pending")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", order["date"])
    assert created.headers["ETag"] == '"1"'
    detail = customer.get(f"{server.url}/orders/1")
    assert (detail.status_code, detail.content, detail.headers["ETag"]) == (200, created.content, '"1"')
    assert customer.get(f"{server.url}/orders").json() == [order]


def test_strings_add_up(server: Server) -> None:
    order = server.client(1).post(f"{server.url}/orders/new", json=["1", "1"]).json()
    assert [(line["id"], line["quantity"]) for line in order["products"]] == [(1, 2)]
    again = server.client(1).post(f"{server.url}/orders/new", json=["text"])
    assert again.status_code == 400
    assert problem(again)["errors"] == {"0": ["There is no product 'text' in the catalogue."]}


def test_the_status_endpoint(server: Server) -> None:
    server.client(1).post(f"{server.url}/orders/new", json=["1"])
    staff = server.client(9, "staff")
    update = f"{server.url}/orders/status-update"
    same = staff.post(update, json={"orderId": 1, "status": "Pending"})
    assert (same.status_code, same.json()) == (200, {"id": 1, "status": "pending"})
    moved = staff.post(update, json={"orderId": 1, "status": "Completed"})
    assert (moved.status_code, moved.json()) == (200, {"id": 1, "status": "completed"})
    assert list(moved.json()) == ["id", "status"]
    types = {
        problem(staff.post(update, json=body))["type"]
        for body in (
            {"orderId": 1, "status": "Pending"},
            {"orderId": 1, "status": "Unheard of"},
            {"orderId": 123, "status": "Pending"},
            {"orderId": "1", "status": "Pending"},
        )
    }
    assert len(types) == 4
    assert staff.post(update, json={"orderId": 123, "status": "Pending"}).status_code == 400


def test_the_lead_endpoint(server: Server) -> None:
    owner, put = server.client(1), f"{server.url}/leads/statuses/order"
    one = owner.put(put, json={"id": 1, "statusOrder": 1})
    assert (one.status_code, one.json()) == (200, [{"id": 1, "statusOrder": 1}])
    many = owner.put(put, json=[{"id": 4, "statusOrder": 1}])
    assert many.json() == [
        {"id": 4, "statusOrder": 1},
        {"id": 1, "statusOrder": 2},
        {"id": 2, "statusOrder": 3},
        {"id": 3, "statusOrder": 4},
    ]
    board = owner.get(f"{server.url}/leads/statuses").json()
    assert [status["name"] for status in board] == ["Lost", "New", "Contacted", "Qualified"]
    assert owner.put(put, json=[{"id": 1, "statusOrder": 5}]).status_code == 400


def test_orders_of_others_do_not_exist(server: Server) -> None:
    server.client(1).post(f"{server.url}/orders/new", json=["1"])
    other = server.client(2)
    missing = other.get(f"{server.url}/orders/1")
    assert missing.status_code == 404
    problem(missing)
    assert other.get(f"{server.url}/orders").json() == []
    anonymous = requests.get(f"{server.url}/orders/1", timeout=10)
    assert (anonymous.status_code, anonymous.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")


def test_payment_and_replay(server: Server) -> None:
    customer = server.client(1)
    customer.post(f"{server.url}/orders/new", json=["1"])
    paid = {"orderId": 1, "status": "Order Paid"}
    refused = customer.post(f"{server.url}/orders/status-update", json=paid)
    assert (refused.status_code, problem(refused)["type"]) == (400, "/problems/payment-not-confirmed")
    assert server.command("pay", "1").returncode == 0
    granted = customer.post(f"{server.url}/orders/status-update", json=paid)
    assert (granted.status_code, granted.json()) == (200, {"id": 1, "status": "order_paid"})
    replay = server.command("replay", "1", "--json")
    assert '"StatusChanged"' in replay.stdout
