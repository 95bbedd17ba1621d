"""The seam between the ledger and Stripe, broken in every place: no order is paid twice, none is lost, no orphan stays.

Each test ends with ``assert_settled``: the log and all views are sound, and after ``reconcile --fix`` the two agree.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.server import problem
from tests.support.shop import CUSTOMER, STAFF, Shop, in_background, wait_until
from tests.support.stripe_objects import Refused
from tests.support.stripe_server import Fault, StripeServer

ALL = 1000
"""More times than anyone tries."""
SECONDS_OF_COMMITTING = 0.5
"""Enough for Stripe's answer to arrive and the commit to be tried, and less than the server waits for the lock."""
INTENTS = "/v1/payment_intents"
UNAVAILABLE = {502, 503}


@pytest.fixture
def stripe() -> Iterator[StripeServer]:
    with StripeServer() as server:
        yield server


@pytest.fixture
def shop(database_url: str, tmp_path: Path, stripe: StripeServer) -> Iterator[Shop]:
    opened = Shop(tmp_path, database_url, stripe)
    opened.server.start()
    yield opened
    opened.server.stop()


def assert_unavailable(answer: requests.Response) -> None:
    assert answer.status_code in UNAVAILABLE, answer.text
    assert problem(answer)["type"] == "/problems/payments-unavailable"
    assert int(answer.headers["Retry-After"]) >= 1


def retried(shop: Shop, key: str) -> requests.Response:
    """The answer to the same request, sent again for as long as the gateway is left alone."""
    answers: list[requests.Response] = []

    def answered() -> bool:
        answers.append(shop.place(key))
        return answers[-1].status_code not in UNAVAILABLE

    wait_until(answered, "an order under the same key")
    return answers[-1]


def restarted_with_patience(shop: Shop) -> None:
    """The server waits for Stripe longer than a test makes it wait."""
    shop.server.stop()
    shop.server.environ["LEDGER_STRIPE_TIMEOUT"] = "30"
    shop.server.start()


@pytest.mark.parametrize("when", ["before", "after"])
def test_stripe_times_out(shop: Shop, when: str) -> None:
    released = threading.Event()
    shop.stripe.inject(Fault.hang("before" if when == "before" else "after", released), times=ALL)

    assert_unavailable(shop.place("key"))
    assert shop.log() == []

    shop.stripe.heal()
    released.set()
    answer = retried(shop, "key")
    assert answer.status_code == 201
    assert len(shop.stripe.intents) == 1
    assert answer.json()["clientSecret"] == shop.intent(answer.json()["id"])["client_secret"]
    shop.assert_settled()


def test_a_fault_that_passes_costs_nobody_an_order(shop: Shop) -> None:
    faults = [Fault.drop("before"), Fault.drop("after"), Fault.answer(500, "before"), Fault.answer(500, "after")]
    for number, fault in enumerate([*faults, Fault.answer(503, "before"), Fault.answer(429, "before")]):
        shop.stripe.inject(fault)

        answer = retried(shop, f"key-{number}")

        assert answer.status_code == 201
        assert len(shop.stripe.intents_of_order(answer.json()["id"])) == 1
    assert len(shop.stripe.intents) == len(shop.log())
    shop.assert_settled()


def test_a_failure_that_stripe_keeps_for_the_key(shop: Shop) -> None:
    restarted_with_patience(shop)
    shop.stripe.inject(Fault.answer(500, "after", saved=True))

    answer = retried(shop, "key")

    assert answer.status_code == 201
    mine = shop.intent(answer.json()["id"])
    assert shop.stripe.pay(mine["id"])
    assert shop.tell(*shop.stripe.events[-2:]) == [200, 200]
    assert shop.status(answer.json()["id"]) == "order_paid"
    shop.assert_settled()
    assert [intent["status"] for intent in shop.stripe.intents.values() if intent is not mine] == ["canceled"]


def killed_between_stripe_and_the_commit(shop: Shop) -> str:
    """Kills the server when it knows the intent of an order and has not committed; returns the intent's id."""
    released = threading.Event()
    restarted_with_patience(shop)
    shop.stripe.inject(Fault.hang("after", released))
    with in_background(lambda: shop.place("key")) as answers:
        wait_until(lambda: shop.stripe.intents, "an intent")
        with shop.database() as database, database.write() as lock:  # of the writers: nothing can be committed
            released.set()
            time.sleep(SECONDS_OF_COMMITTING)
            shop.server.kill()
            if database.dialect == "postgres":  # which would finish the statement of a client that is gone
                lock.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
    assert isinstance(answers[0], requests.RequestException)
    shop.server.start()
    assert shop.log() == []
    return next(iter(shop.stripe.intents))


def test_killed_between_stripes_answer_and_the_commit_and_tried_again(shop: Shop) -> None:
    intent_id = killed_between_stripe_and_the_commit(shop)

    order_id = shop.placed("key")

    assert shop.intent(order_id)["id"] == intent_id
    assert len(shop.stripe.intents) == 1
    shop.assert_settled()
    assert shop.intent(order_id)["status"] == "requires_payment_method"


def test_killed_between_stripes_answer_and_the_commit_and_reconciled(shop: Shop) -> None:
    intent_id = killed_between_stripe_and_the_commit(shop)

    assert shop.reconcile("--fix") == [], "the commit might be under way"
    shop.age()
    found = shop.reconcile(code=1)
    assert len(found) == 1
    assert intent_id in found[0]
    assert shop.stripe.intent(intent_id)["status"] == "requires_payment_method"
    assert shop.reconcile("--fix") == [found[0].replace("--fix cancels it", "cancelled")]
    assert shop.stripe.intent(intent_id)["status"] == "canceled"

    order_id = shop.placed("key")
    assert shop.intent(order_id)["status"] == "requires_payment_method", "an order that can't be paid"
    assert shop.tell(*shop.stripe.pay(shop.intent(order_id)["id"])) == [200, 200]
    assert shop.status(order_id) == "order_paid"
    shop.assert_settled()


def test_a_webhook_before_the_commit(shop: Shop) -> None:
    restarted_with_patience(shop)
    released = threading.Event()
    shop.stripe.inject(Fault.hang("after", released))
    with in_background(lambda: shop.place("key")) as answers:
        wait_until(lambda: shop.stripe.intents, "an intent")
        paid = shop.stripe.pay(next(iter(shop.stripe.intents)))
        assert shop.tell(paid[-1]) == [503]
        released.set()
    order_id = answers[0].json()["id"]
    assert shop.status(order_id) == "pending"

    assert shop.tell(paid[-1], paid[-1]) == [200, 200]

    assert shop.status(order_id) == "order_paid"
    shop.assert_settled()


def test_while_stripe_is_down_everything_else_goes_on(shop: Shop) -> None:
    paid, waiting = shop.placed("first"), shop.placed("second")
    assert shop.tell(*shop.stripe.pay(shop.intent(paid)["id"])) == [200, 200]
    before = len(shop.log())

    shop.stripe.stop()
    for number in range(12):
        assert_unavailable(shop.place(f"down-{number % 3}"))
    assert_unavailable(shop.move(waiting, "cancelled"))
    assert len(shop.log()) == before

    assert shop.get("/orders").status_code == 200
    assert shop.get("/readyz").status_code == 200
    assert shop.move(paid, "shipped", user=STAFF).status_code == 200
    assert shop.tell(*shop.stripe.pay(shop.intent(waiting)["id"])) == [200, 200]
    assert shop.status(waiting) == "order_paid"

    shop.stripe.start()
    orders = {retried(shop, f"down-{number}").json()["id"] for number in range(3)}
    assert len(orders) == 3
    assert len(shop.stripe.intents) == 5
    shop.assert_settled()


def test_a_stripe_that_hangs_is_left_alone(shop: Shop) -> None:
    released = threading.Event()
    order_id = shop.placed("first")
    shop.stripe.inject(Fault.hang("before", released), times=ALL)
    with ThreadPoolExecutor(40) as pool:
        for answer in pool.map(lambda number: shop.place(f"hung-{number}"), range(40)):
            assert_unavailable(answer)
    asked = len(shop.stripe.requests)

    answers = [shop.place(f"hung-{number}") for number in range(40)]
    assert {answer.status_code for answer in answers} <= UNAVAILABLE
    # A worker probes once in a while; the others are not asked.
    assert len(shop.stripe.requests) - asked < len(answers) // 2
    assert shop.get(f"/orders/{order_id}").status_code == 200
    assert len(shop.log()) == 1

    shop.stripe.heal()
    released.set()
    assert retried(shop, "hung-1").status_code == 201
    shop.assert_settled()


def test_concurrent_repeats_of_one_key_make_one_order_and_one_intent(shop: Shop) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: shop.place("key"), range(12)))

    assert {answer.status_code for answer in answers} <= {201, 503}
    ids = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(ids) == 1
    assert retried(shop, "key").json()["id"] in ids
    assert len(shop.stripe.intents) == 1
    assert len(shop.log()) == 1
    shop.assert_settled()


@pytest.mark.slow
def test_cancelling_races_with_paying(shop: Shop) -> None:
    rng = random.Random(4)
    outcomes = set()
    for number in range(12):
        order_id = shop.placed(f"order-{number}")
        steps = [lambda: shop.move(order_id, "cancelled").status_code, lambda: pay(shop, order_id)]  # noqa: B023
        rng.shuffle(steps)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda step: step(), steps))
        status, intent = shop.status(order_id), shop.intent(order_id)
        outcomes.add(status)
        assert (status, intent["status"]) in {("cancelled", "canceled"), ("pending", "succeeded")}
        assert shop.tell(*events_of(shop, order_id)) == [200] * len(events_of(shop, order_id))
        assert (shop.status(order_id), intent["status"]) in {("cancelled", "canceled"), ("order_paid", "succeeded")}
    shop.assert_settled()


def pay(shop: Shop, order_id: int) -> bool:
    """Whether the customer got it paid."""
    try:
        shop.stripe.pay(shop.intent(order_id)["id"])
    except Refused:
        return False
    return True


def events_of(shop: Shop, order_id: int) -> list[dict[str, object]]:
    """Every event about the order's intent."""
    intent_id = shop.intent(order_id)["id"]
    return [event for event in shop.stripe.events if event["data"]["object"]["id"] == intent_id]


def test_paid_before_the_owner_cancels(shop: Shop) -> None:
    order_id = shop.placed()
    paid = shop.stripe.pay(shop.intent(order_id)["id"])

    refused = shop.move(order_id, "cancelled")

    assert (refused.status_code, problem(refused)["type"]) == (400, "/problems/refund-required")
    assert shop.tell(*paid) == [200, 200]
    assert shop.status(order_id) == "order_paid"
    shop.assert_settled()


def test_killed_between_the_cancelling_at_stripe_and_the_commit(shop: Shop) -> None:
    order_id = shop.placed()
    released = threading.Event()
    shop.stripe.inject(Fault.hang("after", released), path=f"{INTENTS}/")
    with in_background(lambda: shop.move(order_id, "cancelled")):
        wait_until(lambda: shop.intent(order_id)["status"] == "canceled", "the cancelling")
        shop.server.kill()
    released.set()
    shop.server.start()
    assert shop.status(order_id) == "pending"

    assert len(shop.reconcile("--fix")) == 1

    assert shop.status(order_id) == "cancelled"
    assert shop.move(order_id, "cancelled").status_code == 200
    shop.assert_settled()


def test_a_success_that_comes_after_the_order_was_declined(shop: Shop) -> None:
    order_id = shop.placed()
    intent = f"/v1/payment_intents/{shop.intent(order_id)['id']}"
    shop.stripe.inject(Fault.drop("before"), times=10, method="GET", path=intent)
    assert shop.move(order_id, "declined", user=STAFF).status_code == 200
    shop.stripe.heal()
    assert shop.intent(order_id)["status"] == "requires_payment_method"
    paid = shop.stripe.pay(shop.intent(order_id)["id"])

    assert shop.tell(*paid) == [200, 200]

    assert shop.status(order_id) == "declined"
    assert shop.payment(order_id)["needsRefund"] is True
    assert [f"order {order_id}, " in line for line in shop.reconcile(code=1)] == [True]
    assert shop.refund(order_id, "back").status_code == 201
    assert shop.payment(order_id)["needsRefund"] is False
    shop.assert_settled()


@pytest.mark.parametrize("reached", [True, False])
def test_an_order_that_is_declined_can_not_be_paid_after_all(shop: Shop, reached: bool) -> None:
    order_id = shop.placed()
    if not reached:
        shop.stripe.inject(Fault.drop("before"), times=10, method="GET", path="/v1/payment_intents/")
    assert shop.move(order_id, "declined", user=STAFF).status_code == 200
    shop.stripe.heal()
    assert (shop.intent(order_id)["status"] == "canceled") is reached

    shop.assert_settled()

    assert shop.intent(order_id)["status"] == "canceled"
    assert shop.status(order_id) == "declined"


@pytest.mark.parametrize("amount", [None, 500])
def test_a_refund_whose_answer_was_lost_is_made_once(shop: Shop, amount: int | None) -> None:
    order_id = shop.placed()
    shop.tell(*shop.stripe.pay(shop.intent(order_id)["id"]))
    shop.stripe.inject(Fault.drop("after"), path="/v1/refunds")
    shop.stripe.inject(Fault.drop("before"), path="/v1/refunds", times=ALL)

    assert_unavailable(shop.refund(order_id, "back", amount))
    assert shop.payment(order_id)["refundedInCents"] == 0
    assert len(shop.stripe.refunds) == 1

    shop.stripe.heal()
    made = shop.refund(order_id, "back", amount)
    again = shop.refund(order_id, "back", amount)
    assert (made.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert made.json() == again.json()
    assert [made.json()["id"]] == list(shop.stripe.refunds)
    refund_events = [event for event in shop.stripe.events if "refund" in event["type"]]
    assert set(shop.tell(*refund_events)) == {200}
    assert shop.payment(order_id)["refundedInCents"] == (amount or shop.intent(order_id)["amount"])
    shop.assert_settled()


def test_everything_that_no_webhook_told_is_found(shop: Shop) -> None:
    orders = [shop.placed() for _ in range(5)]
    intents = [shop.intent(order_id)["id"] for order_id in orders]
    shop.stripe.pay(intents[0])
    shop.stripe.fail(intents[1])
    shop.stripe.cancel(intents[2])
    shop.stripe.pay(intents[3])
    shop.stripe.refund(intents[3], 700)
    shop.stripe.advance(intents[4], "processing")

    found = shop.reconcile(code=1)
    assert len(found) == 6
    assert {shop.status(order_id) for order_id in orders} == {"pending"}
    assert len(shop.reconcile("--fix")) == 6

    statuses = [shop.status(order_id) for order_id in orders]
    assert statuses == ["order_paid", "payment_failed", "cancelled", "order_paid", "awaiting_payment"]
    assert shop.payment(orders[3])["refundedInCents"] == 700
    assert shop.tell(*shop.stripe.events) == [200] * len(shop.stripe.events)
    assert [shop.status(order_id) for order_id in orders] == statuses
    assert shop.get("/orders", user=CUSTOMER).status_code == 200
    shop.assert_settled()
