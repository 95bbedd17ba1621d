"""The webhook endpoint: what is signed takes effect once, and all else changes nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ledger.errors import Busy, StorageUnavailable
from ledger.payments.stripe_notices import StripeWebhooks
from projections.check import differences
from tests.support.stripe_objects import StripeAccount
from tests.support.stripe_server import STAMP
from tests.support.stripe_webhooks import body_of, signature

PATH = "/webhooks/stripe"
SECRET = "whsec_of_these_tests"


@pytest.fixture
def webhooks() -> StripeWebhooks:
    return StripeWebhooks([SECRET], STAMP)


@pytest.fixture
def app(make_app: Any, webhooks: StripeWebhooks) -> Any:
    return make_app(webhooks=webhooks)


@pytest.fixture(autouse=True)
def sound_in_the_end(runtime: Any) -> Any:
    yield
    assert differences(runtime.database) == []


@pytest.fixture
def order(client: Any, alice: Any) -> dict[str, Any]:
    """An order of 1999 cents."""
    document: dict[str, Any] = client.post("/orders/new", headers=alice, json=["1"]).json
    return document


@pytest.fixture
def account(order: dict[str, Any]) -> StripeAccount:
    """A Stripe account that has the order's payment intent."""
    account = StripeAccount()
    intent = account.create(1999, "usd", {"order_id": str(order["id"])})
    account.intents[intent_of(order)] = account.intents.pop(intent["id"]) | {"id": intent_of(order)}
    account.events.clear()
    return account


def intent_of(order: dict[str, Any]) -> str:
    return str(order["clientSecret"].partition("_secret_")[0])


def send(client: Any, event: Any, **more: str) -> Any:
    body = event if isinstance(event, bytes) else body_of(event)
    headers = {"Content-Type": "application/json; charset=utf-8", **more}
    if "Stripe-Signature" not in headers:
        headers["Stripe-Signature"] = signature(body, secrets=[SECRET])
    return client.post(PATH, data=body, headers=headers)


def outcomes(client: Any) -> dict[str, int]:
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("payment_webhooks_total{")]
    return {line.partition('"')[2].partition('"')[0]: int(float(line.split()[-1])) for line in found}


def test_a_payment_moves_its_order_once(*, client: Any, alice: Any, order: Any, account: Any, runtime: Any) -> None:
    account.pay(intent_of(order))
    (succeeded,) = (event for event in account.events if event["type"] == "payment_intent.succeeded")
    for _ in range(3):
        answer = send(client, succeeded)
        assert (answer.status_code, answer.data) == (200, b'{"received":true}')
        assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(f"/orders/{order['id']}", headers=alice).json == order | {"status": "order_paid"}
    assert [event.type for event in runtime.services.ledger.history(order["id"])] == [
        "OrderCreated",
        "PaymentRecorded",
        "StatusChanged",
    ]
    again = succeeded | {"id": "evt_of_another_endpoint"}
    assert send(client, again).status_code == 200
    assert runtime.services.health.head() == 3
    assert outcomes(client) == {"recorded": 1, "known": 3, "ignored": 0, "forged": 0, "refused": 0}


def test_who_and_why_reach_the_events(client: Any, order: Any, account: Any, runtime: Any) -> None:
    account.pay(intent_of(order))
    (succeeded,) = (event for event in account.events if event["type"] == "payment_intent.succeeded")
    send(client, succeeded)
    for event in runtime.services.ledger.history(order["id"])[1:]:
        body = json.loads(event.body)
        assert body["actor"] == {"user": None, "role": "payments"}
        assert body["cause"]["stripe_event_id"] == succeeded["id"]


@pytest.mark.parametrize("seed", range(5))
def test_all_that_happens_ends_the_same_in_any_order(
    *, client: Any, alice: Any, order: Any, account: Any, seed: int
) -> None:
    intent_id = intent_of(order)
    account.advance(intent_id, "requires_action")
    account.fail(intent_id)
    account.pay(intent_id)
    account.refund(intent_id, 500)
    account.dispute(intent_id, 1499)
    account.close_dispute(next(iter(account.disputes)), "lost")
    events = account.events * 2
    random.Random(seed).shuffle(events)

    assert {send(client, event).status_code for event in events} == {200}

    assert client.get(f"/orders/{order['id']}", headers=alice).json["status"] == "order_paid"
    assert client.get(f"/orders/{order['id']}/payment", headers=alice).json == {
        "orderId": order["id"],
        "phase": "received",
        "receivedInCents": 1999,
        "refundedInCents": 500,
        "openDisputes": 0,
        "lostDisputes": 1,
        "lostInCents": 1499,
        "anomalies": 0,
        "needsRefund": False,
    }


def test_what_is_not_signed_changes_nothing(
    *, client: Any, is_problem: Any, order: Any, account: Any, runtime: Any
) -> None:
    account.pay(intent_of(order))
    body = body_of(account.events[-1])
    good = signature(body, secrets=[SECRET])
    for sent, header in {
        (body, ""),
        (body, "t=1,v1=00"),
        (body, signature(body, secrets=["whsec_of_others"])),
        (body, signature(body, secrets=[SECRET], timestamp=1_600_000_000)),
        (body[:-2], good),
        (body + b"\n", good),
        (body.replace(b"1999", b"2000"), good),
        (b"\xff\xfe", good),
        (b"{}", good),
    }:
        document = is_problem(send(client, sent, **{"Stripe-Signature": header}), "invalid-signature", 400)
        assert SECRET not in json.dumps(document)
    unsigned = client.post(PATH, data=body, content_type="application/json")
    is_problem(unsigned, "invalid-signature", 400)
    assert runtime.services.health.head() == 1
    assert outcomes(client)["forged"] == 10


def test_a_token_is_neither_needed_nor_enough(client: Any, tokens: Any, is_problem: Any, account: Any) -> None:
    body = body_of({"id": "evt_1", "type": "customer.created", "created": 1, "data": {"object": {}}})
    admin = tokens.headers(1, role="admin")
    is_problem(client.post(PATH, data=body, headers=admin, content_type="application/json"), "invalid-signature", 400)


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b"{}", b'{"id":"evt_1","type":"payment_intent.succeeded"}'])
def test_what_is_signed_but_malformed(client: Any, is_problem: Any, body: bytes) -> None:
    is_problem(send(client, body), "malformed-notice", 400)
    assert outcomes(client)["refused"] == 1


@pytest.mark.parametrize(
    ("headers", "slug", "status"),
    [
        ({"Content-Type": "text/plain"}, "unsupported-media-type", 415),
        ({"Content-Type": "application/json; charset=latin-1"}, "unsupported-media-type", 415),
        ({"Content-Encoding": "gzip"}, "unsupported-media-type", 415),
    ],
)
def test_media_types(*, client: Any, is_problem: Any, headers: Any, slug: str, status: int) -> None:
    is_problem(send(client, b"{}", **headers), slug, status)


def test_sizes(client: Any, is_problem: Any) -> None:
    event = {"id": "evt_1", "type": "customer.created", "created": 1, "data": {"object": {}}}
    body = body_of(event)
    padded = body + b" " * (1024 * 1024 - len(body))
    assert send(client, padded).status_code == 200
    is_problem(send(client, padded + b" "), "request-too-large", 413)
    is_problem(send(client, b""), "malformed-json", 400)


def test_what_is_no_order_s_is_acknowledged(client: Any, runtime: Any, order: Any) -> None:
    account = StripeAccount()
    foreign = account.create(1999)
    account.pay(foreign["id"])
    named = account.create(1999, metadata={"order_id": "A-17"})
    account.pay(named["id"])
    assert {send(client, event).status_code for event in account.events} == {200}
    assert outcomes(client) == {"recorded": 0, "known": 0, "ignored": len(account.events), "forged": 0, "refused": 0}
    assert runtime.services.health.head() == 1


def test_money_for_an_order_that_is_not_there_yet(client: Any, is_problem: Any) -> None:
    account = StripeAccount()
    intent = account.create(1999, metadata=STAMP.metadata(4711))
    account.pay(intent["id"])
    (succeeded,) = (event for event in account.events if event["type"] == "payment_intent.succeeded")
    answer = send(client, succeeded)
    is_problem(answer, "order-not-there-yet", 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert outcomes(client)["refused"] == 1


def test_no_money_for_an_order_that_is_not_there(client: Any) -> None:
    account = StripeAccount()
    intent = account.create(1999, metadata=STAMP.metadata(4711))
    account.fail(intent["id"])
    account.cancel(intent["id"])
    assert {send(client, event).status_code for event in account.events} == {200}
    assert outcomes(client)["ignored"] == len(account.events)


def test_a_late_success_is_recorded(*, client: Any, alice: Any, order: Any, account: Any) -> None:
    client.post("/orders/status-update", headers=alice, json={"orderId": order["id"], "status": "cancelled"})
    account.pay(intent_of(order))
    assert {send(client, event).status_code for event in account.events} == {200}
    assert client.get(f"/orders/{order['id']}", headers=alice).json["status"] == "cancelled"
    payment = client.get(f"/orders/{order['id']}/payment", headers=alice).json
    assert (payment["receivedInCents"], payment["needsRefund"]) == (1999, True)


@pytest.mark.parametrize("error", [StorageUnavailable("db.internal s3cret"), Busy("too many")])
def test_what_can_t_be_recorded_now_is_sent_again(
    *, make_app: Any, raising: Any, webhooks: Any, is_problem: Any, error: Any, account: Any, order: Any
) -> None:
    account.pay(intent_of(order))
    (succeeded,) = (event for event in account.events if event["type"] == "payment_intent.succeeded")
    client = make_app(ledger=raising(error), webhooks=webhooks).test_client()
    answer = send(client, succeeded)
    is_problem(answer, error.code, 503)
    assert "s3cret" not in answer.text
    assert outcomes(client)["refused"] == 1


def test_without_a_secret_there_are_no_webhooks(make_app: Any, is_problem: Any) -> None:
    client = make_app(webhooks=None).test_client()
    is_problem(send(client, b"{}"), "webhooks-not-set-up", 404)


def test_outcomes_are_there_before_they_happen(client: Any) -> None:
    assert outcomes(client) == {"recorded": 0, "known": 0, "ignored": 0, "forged": 0, "refused": 0}
