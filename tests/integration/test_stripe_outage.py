"""While Stripe hangs, is down or is another than it was, everything that does not need it is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.server import problem
from tests.support.shop import STAFF, Shop, wait_until
from tests.support.stripe_server import Fault, StripeServer

THREADS = 4
PLACES = 3
MANY = 1000


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with StripeServer() as stripe:
        opened = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", stripe, workers=1)
        opened.server.start(LEDGER_THREADS=str(THREADS), LEDGER_STRIPE_TIMEOUT="20")
        yield opened
        opened.server.stop()


def assert_refused(answer: requests.Response) -> None:
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")
    assert problem(answer)["type"].endswith("payments-unavailable")


def assert_the_rest_goes_on(shop: Shop, paid: int) -> None:
    assert shop.get(f"/orders/{paid}").status_code == 200
    assert len(shop.get("/orders").json()) == 1
    with shop.server.client(STAFF) as staff:
        answer = staff.put(f"{shop.server.url}/leads/statuses/order", json={"id": 2, "statusOrder": 1}, timeout=60)
    assert answer.status_code == 200


def test_while_stripe_hangs_a_thread_is_left_for_the_rest(shop: Shop) -> None:
    paid = shop.placed("first")
    go_on = threading.Event()
    shop.stripe.inject(Fault.hang("before", go_on), times=PLACES)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(shop.place, f"key-{number}") for number in range(PLACES)]
        wait_until(lambda: len(shop.stripe.requests) == 1 + PLACES, "as many calls as there are places")
        assert_refused(shop.place("one-more"))
        assert_the_rest_goes_on(shop, paid)
        go_on.set()
        assert [each.result().status_code for each in waiting] == [201] * PLACES
    assert len(shop.log()) == 1 + PLACES + 1


def test_while_stripe_is_down_it_is_left_alone_and_then_asked_again(shop: Shop) -> None:
    paid = shop.placed("first")
    shop.tell(*shop.stripe.pay(shop.intent(paid)["id"]))
    shop.stripe.inject(Fault.answer(429, "before"), times=MANY)

    def left_alone() -> bool:
        asked = len(shop.stripe.requests)
        assert_refused(shop.place("second"))
        return len(shop.stripe.requests) == asked

    wait_until(left_alone, "the breaker opens")
    assert_the_rest_goes_on(shop, paid)
    assert shop.move(paid, "shipped", user=STAFF).status_code == 200

    shop.stripe.heal()
    wait_until(lambda: shop.place("second").status_code == 201, "the breaker closes")
    assert len(shop.get("/orders").json()) == 2
    shop.assert_settled()


def test_the_payment_of_another_gateway_is_refused_in_words(shop: Shop) -> None:
    shop.server.stop()
    shop.server.start(STRIPE_SECRET_KEY="")
    order_id = shop.placed()
    shop.server.stop()
    shop.server.start()

    for answer in (shop.move(order_id, "cancelled"), shop.move(order_id, "order_paid"), shop.refund(order_id, "key")):
        assert answer.status_code == 400
        assert problem(answer)["type"].endswith("unknown-payment")
    assert shop.status(order_id) == "pending"
    assert shop.move(order_id, "declined", user=STAFF).status_code == 200
