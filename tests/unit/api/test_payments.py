"""The payment endpoints: refunds, how a payment stands, and payments that are no order's."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.actor import Actor, Cause, Role
from ledger.errors import PaymentsUnavailable, RefundRefused
from ledger.payments.gateway import PaymentKind, PaymentNotice
from projections.check import differences

CREATE = "/payments/create-payment-intent"
UNPAID = {
    "orderId": 1,
    "phase": None,
    "receivedInCents": 0,
    "refundedInCents": 0,
    "openDisputes": 0,
    "lostDisputes": 0,
    "lostInCents": 0,
    "anomalies": 0,
    "needsRefund": False,
}


@pytest.fixture
def order_id(client: Any, alice: Any) -> int:
    """An order of 1999 cents."""
    id: int = client.post("/orders/new", headers=alice, json=["1"]).json["id"]
    return id


@pytest.fixture
def paid(order_id: int, runtime: Any) -> int:
    """An order that is paid."""
    record(runtime, runtime.sandbox.settle(order_id))
    return order_id


@pytest.fixture(autouse=True)
def sound_in_the_end(runtime: Any) -> Any:
    yield
    assert differences(runtime.database) == []


def record(runtime: Any, notice: PaymentNotice, event: str = "evt_1") -> None:
    cause = Cause(stripe_event_id=event)
    assert runtime.services.ledger.record_payment(notice, actor=Actor(None, Role.PAYMENTS), cause=cause)


def refund(client: Any, headers: Any, order_id: int, body: Any, key: str = "refund-1") -> Any:
    return client.post(f"/orders/{order_id}/refunds", headers={**headers, "Idempotency-Key": key}, json=body)


def test_a_payment_from_the_order_to_the_refund(
    *, client: Any, alice: Any, staff: Any, order_id: int, runtime: Any
) -> None:
    def payment() -> dict[str, Any]:
        answer = client.get(f"/orders/{order_id}/payment", headers=alice)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        document: dict[str, Any] = answer.json
        return document

    assert payment() == UNPAID
    record(runtime, runtime.sandbox.settle(order_id))
    assert payment() == UNPAID | {"phase": "received", "receivedInCents": 1999}

    part = refund(client, staff, order_id, {"amountInCents": 500}, "part")
    assert part.status_code == 201
    assert list(part.json) == ["id", "orderId", "amountInCents", "currency", "status"]
    assert part.json == {
        "id": part.json["id"],
        "orderId": order_id,
        "amountInCents": 500,
        "currency": "usd",
        "status": "succeeded",
    }
    assert payment() == UNPAID | {"phase": "received", "receivedInCents": 1999, "refundedInCents": 500}

    rest = refund(client, staff, order_id, {}, "rest")
    assert (rest.status_code, rest.json["amountInCents"]) == (201, 1499)
    assert payment()["refundedInCents"] == 1999
    detail = client.get(f"/orders/{order_id}", headers=alice)
    assert (detail.json["status"], detail.headers["ETag"]) == ("order_paid", rest.headers["ETag"])

    body = {"orderId": order_id, "status": "cancelled"}
    assert client.post("/orders/status-update", headers=staff, json=body).status_code == 200
    assert payment()["needsRefund"] is False


def test_money_that_is_kept_for_a_cancelled_order(client: Any, alice: Any, order_id: int, runtime: Any) -> None:
    client.post("/orders/status-update", headers=alice, json={"orderId": order_id, "status": "cancelled"})
    intent_id = client.get(f"/orders/{order_id}", headers=alice).json["clientSecret"].partition("_secret_")[0]
    record(runtime, PaymentNotice(PaymentKind.RECEIVED, intent_id, 1999, "usd", "2030-01-01T00:00:00.000000Z"))

    payment = client.get(f"/orders/{order_id}/payment", headers=alice).json

    assert payment == UNPAID | {"phase": "received", "receivedInCents": 1999, "needsRefund": True}


def test_who_sees_a_payment(client: Any, tokens: Any, is_problem: Any, order_id: int) -> None:
    path = f"/orders/{order_id}/payment"
    for user, role in ((1, "customer"), (8, "staff"), (8, "auditor"), (8, "admin")):
        assert client.get(path, headers=tokens.headers(user, role=role)).json == UNPAID
    is_problem(client.get(path, headers=tokens.headers(2)), "no-such-order", 404)
    is_problem(client.get("/orders/4711/payment", headers=tokens.headers(1)), "no-such-order", 404)
    is_problem(client.get("/orders/0/payment", headers=tokens.headers(1)), "not-found", 404)
    is_problem(client.get(path), "unauthenticated", 401)


def test_who_may_refund(client: Any, tokens: Any, is_problem: Any, paid: int, runtime: Any) -> None:
    head = runtime.services.health.head()
    is_problem(refund(client, {}, paid, {}), "unauthenticated", 401)
    is_problem(refund(client, tokens.headers(1), paid, {}), "forbidden", 403)
    is_problem(refund(client, tokens.headers(8, role="auditor"), paid, {}), "forbidden", 403)
    is_problem(refund(client, tokens.headers(2), paid, {}), "no-such-order", 404)
    is_problem(refund(client, tokens.headers(8, role="staff"), 4711, {}), "no-such-order", 404)
    assert runtime.services.health.head() == head
    assert refund(client, tokens.headers(8, role="admin"), paid, {}).status_code == 201


def test_a_refund_needs_a_key(client: Any, staff: Any, is_problem: Any, paid: int, runtime: Any) -> None:
    head = runtime.services.health.head()
    path = f"/orders/{paid}/refunds"
    document = is_problem(client.post(path, headers=staff, json={}), "invalid-header", 400)
    assert "Idempotency-Key" in document["detail"]
    for malformed in ("", '"', "a b"):
        is_problem(refund(client, staff, paid, {}, malformed), "invalid-header", 400)
    assert runtime.services.health.head() == head


def test_a_repeated_refund_happens_once(client: Any, staff: Any, paid: int, runtime: Any) -> None:
    first = refund(client, staff, paid, {"amountInCents": 500})
    assert "Idempotency-Replayed" not in first.headers
    refund(client, staff, paid, {"amountInCents": 1}, "another")
    head = runtime.services.health.head()
    for key in ("refund-1", '"refund-1"'):
        again = refund(client, staff, paid, {"amountInCents": 500}, key)
        assert (again.status_code, again.data) == (201, first.data)
        assert again.headers["ETag"] == first.headers["ETag"] == '"4"'
        assert again.headers["Idempotency-Replayed"] == "true"
    assert runtime.services.health.head() == head


def test_a_key_belongs_to_one_refund(
    *, client: Any, alice: Any, staff: Any, is_problem: Any, paid: int, runtime: Any
) -> None:
    other = client.post("/orders/new", headers=alice, json=["1"]).json["id"]
    record(runtime, runtime.sandbox.settle(other), "evt_2")
    assert refund(client, staff, paid, {"amountInCents": 500}).status_code == 201
    head = runtime.services.health.head()

    for order_id, body in ((paid, {"amountInCents": 501}), (paid, {}), (other, {"amountInCents": 500})):
        is_problem(refund(client, staff, order_id, body), "idempotency-key-reused", 422)
    assert runtime.services.health.head() == head


def test_refunds_of_more_than_is_left(client: Any, staff: Any, is_problem: Any, paid: int, runtime: Any) -> None:
    head = runtime.services.health.head()
    is_problem(refund(client, staff, paid, {"amountInCents": 2000}), "refund-refused", 400)
    assert runtime.services.health.head() == head
    assert refund(client, staff, paid, {"amountInCents": 1999}).status_code == 201  # the key was not used up
    for body in ({}, {"amountInCents": 1}):
        is_problem(refund(client, staff, paid, body, "more"), "refund-refused", 400)


def test_nothing_to_refund(client: Any, staff: Any, is_problem: Any, order_id: int) -> None:
    is_problem(refund(client, staff, order_id, {}), "refund-refused", 400)


BAD_AMOUNTS: list[tuple[Any, str]] = [
    ("1000", "invalid-body"),
    (10.5, "invalid-body"),
    (1000.0, "invalid-body"),
    (True, "invalid-body"),
    (None, "invalid-body"),
    ([], "invalid-body"),
    ({}, "invalid-body"),
    (0, "invalid-amount"),
    (-1, "invalid-amount"),
    (100_000_000, "invalid-amount"),
    (2**53 - 1, "invalid-amount"),
]


@pytest.mark.parametrize(("amount", "slug"), BAD_AMOUNTS)
def test_amounts_that_are_none(*, client: Any, staff: Any, is_problem: Any, paid: int, amount: Any, slug: str) -> None:
    document = is_problem(refund(client, staff, paid, {"amountInCents": amount}), slug, 400)
    assert list(document["errors"]) == ["amountInCents"]
    document = is_problem(client.post(CREATE, headers=staff, json={"amount": amount}), slug, 400)
    assert list(document["errors"]) == ["amount"]


@pytest.mark.parametrize(
    ("body", "paths"),
    [([], [""]), ("x", [""]), (1, [""]), ({"extra": 1}, ["extra"]), ({"currency": "eur"}, ["currency"])],
)
def test_bodies_that_are_none(*, client: Any, staff: Any, is_problem: Any, paid: int, body: Any, paths: Any) -> None:
    document = is_problem(refund(client, staff, paid, body), "invalid-body", 400)
    assert list(document["errors"]) == paths
    named = {"amount": 1000, **body} if isinstance(body, dict) else body
    document = is_problem(client.post(CREATE, headers=staff, json=named), "invalid-body", 400)
    assert list(document["errors"]) == paths


def test_bodies_that_are_missing(client: Any, staff: Any, is_problem: Any, paid: int) -> None:
    headers = {**staff, "Idempotency-Key": "k"}
    for path in (f"/orders/{paid}/refunds", CREATE):
        is_problem(client.post(path, headers=headers), "malformed-json", 400)
        is_problem(client.post(path, headers=headers, data=b"{}"), "unsupported-media-type", 415)
    assert list(is_problem(client.post(CREATE, headers=staff, json={}), "invalid-body", 400)["errors"]) == ["amount"]


@pytest.mark.parametrize("amount", [1, 1000, 99_999_999])
def test_a_payment_of_no_order(client: Any, alice: Any, runtime: Any, amount: int) -> None:
    response = client.post(CREATE, headers=alice, json={"amount": amount})

    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert list(response.json) == ["id", "amount", "currency", "clientSecret", "status"]
    assert (response.json["amount"], response.json["currency"]) == (amount, "usd")
    assert response.json["status"] == "requires_payment_method"
    assert response.json["clientSecret"].startswith(response.json["id"] + "_secret_")
    assert runtime.services.health.head() == 0


def test_a_payment_of_no_order_needs_a_token(client: Any, is_problem: Any) -> None:
    is_problem(client.post(CREATE, json={"amount": 1000}), "unauthenticated", 401)


@pytest.mark.parametrize("path", ["/orders/1/refunds", CREATE])
def test_a_gateway_that_is_down(*, make_app: Any, raising: Any, staff: Any, is_problem: Any, path: str) -> None:
    client = make_app(ledger=raising(PaymentsUnavailable("no route to s3cret"))).test_client()
    body = {"amount": 1000} if path == CREATE else {}

    response = client.post(path, headers={**staff, "Idempotency-Key": "k"}, json=body)

    is_problem(response, "payments-unavailable", 503)
    assert int(response.headers["Retry-After"]) > 0
    assert "s3cret" not in response.text


def test_what_the_gateway_refuses(make_app: Any, raising: Any, staff: Any, is_problem: Any) -> None:
    client = make_app(ledger=raising(RefundRefused("It is under dispute."))).test_client()

    assert is_problem(refund(client, staff, 1, {}), "refund-refused", 400)["detail"] == "It is under dispute."


def test_who_refunded_reaches_the_event(client: Any, staff: Any, paid: int, runtime: Any) -> None:
    refund(client, {**staff, "X-Request-Id": "from-the-desk"}, paid, {})
    event = runtime.services.ledger.history(paid)[-1]
    assert event.type == "PaymentRecorded"
    assert '"role":"staff"' in event.body
    assert '"request_id":"from-the-desk"' in event.body
    assert '"idempotency_key":"refund-1"' in event.body
