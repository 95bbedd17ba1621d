"""Stripe's webhooks on four workers: money moves its order once, though they come twice, early, late, forged or cut.

Every test ends with a look at the whole log and all views.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from projections.check import differences
from tests.support.postgres import temporary_database
from tests.support.server import problem
from tests.support.shop import STAFF, Shop, in_background, wait_until
from tests.support.stripe_objects import Object
from tests.support.stripe_server import WEBHOOK_SECRET, Fault, StripeServer
from tests.support.stripe_webhooks import body_of, deliver, signature
from tests.support.wire import exchange, request

NEXT_SECRET = "whsec_next_planted0123456789abcdef0123456789"
WORKERS = 4
INTENTS = "/v1/payment_intents"
TYPE = "Content-Type: application/json; charset=utf-8"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop for all tests of this module, with two webhook secrets and nothing hurrying it."""
    directory: Path = tmp_path_factory.mktemp("shop")
    with ExitStack() as stack:
        url = f"sqlite:///{directory}/ledger.db"
        if request.param == "postgres":
            url = stack.enter_context(temporary_database(request.getfixturevalue("postgres_server")))
        opened = Shop(directory, url, stack.enter_context(StripeServer()), workers=WORKERS)
        opened.server.environ |= {
            "STRIPE_WEBHOOK_SECRET": f"{NEXT_SECRET},{WEBHOOK_SECRET}",
            "LEDGER_STRIPE_TIMEOUT": "30",
        }
        opened.server.start()
        stack.callback(opened.server.stop)
        yield opened


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    """The shop; in the end nothing in it is unsound."""
    yield running
    with running.database() as database:
        assert differences(database) == []
    causes = [body["cause"] for body in running.bodies()]
    told = [
        cause["stripe_event_id"] for cause in causes if "stripe_event_id" in cause and "part_of_version" not in cause
    ]
    assert len(set(told)) == len(told), "an event took effect twice"


def happening(shop: Shop, *steps: Any) -> list[Object]:
    """The events of what happens at Stripe now."""
    before = len(shop.stripe.events)
    for step, *arguments in steps:
        step(*arguments)
    return shop.stripe.events[before:]


def paid(shop: Shop, order_id: int) -> Object:
    """The event of the order's payment, which nobody has heard of yet."""
    events = happening(shop, (shop.stripe.pay, shop.intent(order_id)["id"]))
    return next(event for event in events if event["type"] == "payment_intent.succeeded")


def stream(shop: Shop, order_id: int) -> list[str]:
    """The types of an order's events, and of payments what was recorded."""
    bodies = [(event.type, json.loads(event.body)) for event in shop.log() if event.stream == f"order-{order_id}"]
    return [body.get("kind") or body.get("status") or type for type, body in bodies]


def outcomes(shop: Shop) -> dict[str, float]:
    """How many webhooks came to what, on all workers."""
    page = requests.get(f"{shop.server.url}/metrics", timeout=10).text
    families = {family.name: family for family in text_string_to_metric_families(page)}
    counted = families["payment_webhooks"].samples
    return {sample.labels["outcome"]: sample.value for sample in counted if sample.name.endswith("_total")}


def send(shop: Shop, body: bytes, header: str) -> requests.Response:
    headers = {"Stripe-Signature": header, "Content-Type": "application/json"}
    return requests.post(f"{shop.server.url}/webhooks/stripe", data=body, headers=headers, timeout=30)


def at_once(*calls: Callable[[], int]) -> list[int]:
    """What the calls return, all made at the same moment."""
    together = threading.Barrier(len(calls))

    def made(call: Callable[[], int]) -> int:
        together.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(made, calls))


def confirm(shop: Shop, order_id: int) -> int:
    """The owner says that the order is paid."""
    return shop.move(order_id, "Order Paid").status_code


def hear_of_refunds(shop: Shop, since: int) -> int:
    """Delivers what happens at Stripe as soon as it has happened."""
    wait_until(lambda: len(shop.stripe.events) > since, "a refund at Stripe")
    return max(shop.tell(*shop.stripe.events[since:]))


def test_signed_webhooks_move_an_order(shop: Shop) -> None:
    order_id = shop.placed()
    intent_id, stripe = shop.intent(order_id)["id"], shop.stripe
    seen = []
    for step in (
        (stripe.advance, intent_id, "requires_action"),
        (stripe.fail, intent_id),
        (stripe.advance, intent_id, "processing"),
        (stripe.pay, intent_id),
    ):
        for event in happening(shop, step):
            event["created"] += len(seen)  # a second later each: what is told of one second has no order
            assert shop.tell(event) == [200]
        seen.append((shop.status(order_id), shop.payment(order_id)["phase"]))
    assert seen == [
        ("awaiting_payment", "requires_action"),
        ("payment_failed", "failed"),
        ("awaiting_payment", "processing"),
        ("order_paid", "received"),
    ]
    assert shop.payment(order_id)["receivedInCents"] == shop.intent(order_id)["amount"]


def test_every_webhook_three_times(shop: Shop) -> None:
    order_id = shop.placed()
    intent_id = shop.intent(order_id)["id"]
    before = outcomes(shop)
    events = happening(
        shop, (shop.stripe.fail, intent_id), (shop.stripe.pay, intent_id), (shop.stripe.refund, intent_id)
    )
    assert set(shop.tell(*events, *events, *events)) == {200}
    assert (stream(shop, order_id).count("received"), stream(shop, order_id).count("order_paid")) == (1, 1)
    payment = shop.payment(order_id)
    assert payment["receivedInCents"] == payment["refundedInCents"] == shop.intent(order_id)["amount"]
    counted = {outcome: count - before[outcome] for outcome, count in outcomes(shop).items()}
    assert sum(counted.values()) == 3 * len(events)
    assert counted["recorded"] <= len(events)
    assert counted["known"] >= 2 * counted["recorded"]
    assert counted["refused"] == 0


def test_five_copies_at_once(shop: Shop) -> None:
    for _ in range(5):
        order_id = shop.placed()
        event = paid(shop, order_id)
        assert at_once(*[lambda event=event: shop.tell(event)[0]] * 5) == [200] * 5
        assert stream(shop, order_id) == ["OrderCreated", "received", "order_paid"]


def test_webhooks_and_the_owner_s_confirmation_at_once(shop: Shop) -> None:
    for _ in range(5):
        order_id = shop.placed()
        event = paid(shop, order_id)
        told = at_once(*[lambda event=event: shop.tell(event)[0]] * 3, *[lambda id=order_id: confirm(shop, id)] * 3)
        assert told == [200] * 6
        assert stream(shop, order_id) == ["OrderCreated", "received", "order_paid"]


def test_a_refund_and_its_webhooks_at_once(shop: Shop) -> None:
    order_id = shop.placed()
    shop.tell(paid(shop, order_id))
    for number in range(3):
        before = len(shop.stripe.events)
        refunds = [lambda n=number: shop.refund(order_id, f"race-{order_id}-{n}", 100).status_code] * 3
        hear = [lambda since=before: hear_of_refunds(shop, since)] * 2
        assert set(at_once(*refunds, *hear)) == {201, 200}
        assert shop.payment(order_id)["refundedInCents"] == 100 * (number + 1)
    assert stream(shop, order_id).count("order_paid") == 1


def test_what_is_not_signed_changes_nothing(shop: Shop) -> None:
    order_id = shop.placed()
    event = paid(shop, order_id)
    body = body_of(event)
    good, stale = signature(body), signature(body, timestamp=event["created"] - 301)
    forged = body.replace(str(event["data"]["object"]["amount_received"]).encode(), b"1")
    before, counted = len(shop.log()), outcomes(shop)
    attempts = [(forged, good), (body[:-1], good), (body[: len(body) // 2], good), (body + b" ", good), (body, stale)]
    attempts += [(body, signature(body, secrets=["whsec_of_others"])), (body, "t=1,v1=00"), (b"{}", good)]
    for sent, header in attempts:
        answer = send(shop, sent, header)
        assert (answer.status_code, problem(answer)["type"]) == (400, "/problems/invalid-signature")
        assert "whsec" not in answer.text
    assert outcomes(shop)["forged"] == counted["forged"] + len(attempts)
    assert len(shop.log()) == before
    assert shop.status(order_id) == "pending"
    assert shop.tell(event) == [200]
    assert shop.status(order_id) == "order_paid"


def test_a_body_that_is_cut_short_on_its_way(shop: Shop) -> None:
    order_id = shop.placed()
    body = body_of(paid(shop, order_id))
    headers = (TYPE, f"Stripe-Signature: {signature(body)}", f"Content-Length: {len(body)}")
    sent = request("POST", "/webhooks/stripe", *headers, body=body[:-10])
    answer = exchange(shop.server.url, sent, half_close=True)
    assert (answer.status, answer.problem()["type"]) == (400, "/problems/bad-request")
    assert stream(shop, order_id) == ["OrderCreated"]


def test_either_secret_counts_while_one_replaces_the_other(shop: Shop) -> None:
    url = f"{shop.server.url}/webhooks/stripe"
    for secrets in ([WEBHOOK_SECRET], [NEXT_SECRET], [WEBHOOK_SECRET, NEXT_SECRET]):
        order_id = shop.placed()
        assert deliver(url, paid(shop, order_id), secrets=secrets).status_code == 200
        assert shop.status(order_id) == "order_paid"


def test_a_webhook_that_is_faster_than_the_commit(shop: Shop) -> None:
    released = threading.Event()
    intents = len(shop.stripe.intents)
    shop.stripe.inject(Fault.hang("after", released), path=INTENTS)
    try:
        with in_background(shop.place) as placed:
            wait_until(lambda: len(shop.stripe.intents) > intents, "an intent at Stripe")
            intent = next(reversed(shop.stripe.intents.values()))
            events = happening(shop, (shop.stripe.pay, intent["id"]))
            event = next(event for event in events if event["type"] == "payment_intent.succeeded")
            early = deliver(f"{shop.server.url}/webhooks/stripe", event)
            released.set()
    finally:
        released.set()
    assert (early.status_code, problem(early)["type"]) == (503, "/problems/order-not-there-yet")
    assert int(early.headers["Retry-After"]) > 0
    assert placed[0].status_code == 201
    order_id = placed[0].json()["id"]
    assert str(order_id) == intent["metadata"]["order_id"]
    assert shop.status(order_id) == "pending"
    assert shop.tell(event, event) == [200, 200]
    assert stream(shop, order_id) == ["OrderCreated", "received", "order_paid"]


def test_an_orphan_s_cancelling_is_acknowledged(shop: Shop) -> None:
    stamp = shop.intent(shop.placed())["metadata"]
    intent = shop.stripe.create(1999, "usd", stamp | {"order_id": "9007199254740991"})
    assert shop.tell(*happening(shop, (shop.stripe.cancel, intent["id"]))) == [200]


@pytest.mark.parametrize("metadata", [{}, {"order_id": "17"}, {"order_id": "17", "ledger_id": "another"}])
def test_payments_of_others_are_acknowledged(shop: Shop, metadata: dict[str, str]) -> None:
    before = len(shop.log())
    intent = shop.stripe.create(1999, "usd", metadata)
    events = happening(shop, (shop.stripe.pay, intent["id"]), (shop.stripe.refund, intent["id"]))
    assert set(shop.tell(*events)) == {200}
    assert len(shop.log()) == before


def test_a_late_success_of_a_cancelled_order_is_flagged(shop: Shop) -> None:
    order_id = shop.placed()
    assert shop.move(order_id, "cancelled").status_code == 200
    intent = shop.intent(order_id)
    assert intent["status"] == "canceled"
    late = intent | {"status": "succeeded", "amount_received": intent["amount"]}
    event = {"id": f"evt_late_{order_id}", "object": "event", "type": "payment_intent.succeeded"}
    assert shop.tell(event | {"created": intent["created"], "data": {"object": late}}) == [200]
    assert shop.status(order_id) == "cancelled"
    payment = shop.payment(order_id)
    assert (payment["receivedInCents"], payment["needsRefund"]) == (intent["amount"], True)


def test_a_success_of_a_declined_order_is_flagged_until_it_is_refunded(shop: Shop) -> None:
    order_id = shop.placed()
    shop.stripe.inject(Fault.drop("before"), times=10, method="GET", path=f"{INTENTS}/{shop.intent(order_id)['id']}")
    assert shop.move(order_id, "declined", user=STAFF).status_code == 200  # and its payment could not be closed
    shop.stripe.heal()
    assert shop.tell(paid(shop, order_id)) == [200]
    assert shop.payment(order_id)["needsRefund"] is True
    assert shop.refund(order_id, f"back-{order_id}").status_code == 201
    assert shop.payment(order_id)["needsRefund"] is False
    assert shop.status(order_id) == "declined"


def test_a_refund_and_its_webhooks_count_once(shop: Shop) -> None:
    order_id = shop.placed()
    shop.tell(paid(shop, order_id))
    before = len(shop.stripe.events)
    first = shop.refund(order_id, f"part-{order_id}", 500)
    again = shop.refund(order_id, f"part-{order_id}", 500)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    events = shop.stripe.events[before:]
    assert set(shop.tell(*reversed(events), *events)) == {200}
    payment = shop.payment(order_id)
    assert (payment["refundedInCents"], payment["anomalies"]) == (500, 0)
    assert len([body for body in shop.bodies() if body.get("reference") == first.json()["id"]]) == 1
    assert len(shop.stripe.refunds) == len({refund["id"] for refund in shop.stripe.refunds.values()})
    assert sum(refund["payment_intent"] == shop.intent(order_id)["id"] for refund in shop.stripe.refunds.values()) == 1


def test_a_dispute_is_told_and_moves_nothing(shop: Shop) -> None:
    order_id = shop.placed()
    shop.tell(paid(shop, order_id))
    opened = happening(shop, (shop.stripe.dispute, shop.intent(order_id)["id"]))
    assert set(shop.tell(*opened)) == {200}
    assert (shop.payment(order_id)["openDisputes"], shop.payment(order_id)["lostDisputes"]) == (1, 0)
    closed = happening(shop, (shop.stripe.close_dispute, next(reversed(shop.stripe.disputes)), "lost"))
    assert set(shop.tell(*closed, *opened)) == {200}
    assert (shop.payment(order_id)["openDisputes"], shop.payment(order_id)["lostDisputes"]) == (0, 1)
    assert shop.payment(order_id)["lostInCents"] == shop.intent(order_id)["amount"]
    assert shop.status(order_id) == "order_paid"
