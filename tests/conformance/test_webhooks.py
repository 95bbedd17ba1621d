"""Webhooks on every storage: what is told, to whom, in which order, how often, and what becomes of what fails."""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Barrier

import pytest
from standardwebhooks import Webhook

from ledger.storage.identity import LedgerId
from projections.webhooks.deliverer import Deliverer
from projections.webhooks.queue import LEASE, SCHEDULE, Queue
from projections.webhooks.sending import Answer
from tests.support.storages import CUSTOMER
from tests.support.webhooks import FAILS, GONE, OK, OTHER, URL, Bench


def test_an_order_is_told_from_beginning_to_end_and_nothing_twice(bench: Bench) -> None:
    earlier = bench.order()
    _, secret = bench.endpoints.register(URL)
    order_id = bench.order()
    bench.move(order_id, "cancelled")
    bench.deliver()
    bench.deliver()

    told = [json.loads(body) for _, _, body in bench.receiver.sent]
    assert [(each["type"], each["data"]["orderId"], each["data"]["version"]) for each in told] == [
        ("order.created", order_id, 1),
        ("order.status_changed", order_id, 2),
    ]
    assert told[0]["data"]["userId"] == CUSTOMER.user
    assert told[0]["data"]["status"] == "pending"
    assert (told[1]["data"]["previous"], told[1]["data"]["status"]) == ("pending", "cancelled")
    assert earlier not in [each["data"]["orderId"] for each in told]
    for url, headers, body in bench.receiver.sent:
        assert url == URL
        assert Webhook(secret).verify(body, dict(headers)) == json.loads(body)
    assert len({headers["webhook-id"] for _, headers, _ in bench.receiver.sent}) == 2
    endpoint = bench.only()
    assert (endpoint.delivered, endpoint.waiting, endpoint.dead) == (2, 0, 0)
    bench.store.assert_sound()


def test_who_asks_for_it_is_told_of_what_was(bench: Bench) -> None:
    first, second = bench.order(), bench.order()
    bench.move(first, "cancelled")
    bench.endpoints.register(URL, ["order.created"], after=0)
    bench.deliver()

    assert {json.loads(body)["data"]["orderId"] for _, _, body in bench.receiver.sent} == {first, second}
    assert len(bench.receiver.sent) == 2
    assert bench.only().position == 3


def test_what_fails_is_tried_again_for_three_days_and_then_given_up(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: FAILS
    bench.order()
    bench.deliver()
    for attempt, pause in enumerate(SCHEDULE, 1):
        assert len(bench.receiver.sent) == attempt
        bench.after(pause - timedelta(seconds=1))
        assert len(bench.receiver.sent) == attempt, "too early"
        bench.after(timedelta(seconds=1))
    assert sum(SCHEDULE, timedelta()) >= timedelta(days=3)
    assert len({headers["webhook-id"] for _, headers, _ in bench.receiver.sent}) == 1
    endpoint = bench.only()
    assert (endpoint.waiting, endpoint.dead) == (0, 1)
    [letter] = bench.endpoints.dead(endpoint.id)
    assert (letter.position, letter.error) == (1, "it answered 500")
    assert bench.endpoints.dead(endpoint.id, after=1) == []

    bench.after(timedelta(days=30))
    assert len(bench.receiver.sent) == len(SCHEDULE) + 1
    bench.receiver.answer = lambda *_: OK
    assert bench.endpoints.replay(endpoint.id) == 1
    assert (bench.only().waiting, bench.only().failing) == (1, 0)
    bench.deliver()
    assert len(bench.receiver.sent) == len(SCHEDULE) + 2
    endpoint = bench.only()
    assert (endpoint.delivered, endpoint.waiting, endpoint.dead) == (1, 0, 0)


def test_an_order_waits_for_its_first_event_and_others_do_not(bench: Bench) -> None:
    bench.endpoints.register(URL)
    stuck, other = bench.order(), bench.order()
    bench.move(stuck, "cancelled")
    bench.move(other, "cancelled")
    bench.receiver.answer = lambda _, data: FAILS if data["orderId"] == stuck else OK
    bench.deliver()

    assert sorted(bench.receiver.positions) == [1, 2, 4]
    with bench.store.database.read() as cursor:
        waiting = cursor.execute("SELECT position, next_at FROM webhook_deliveries ORDER BY position")
    assert [row[0] for row in waiting] == [1, 3]
    assert waiting[0][1] == waiting[1][1], "what waits behind another is looked at again and again"
    assert (bench.only().waiting, bench.only().failing, bench.only().dead) == (2, 1, 0)
    bench.receiver.answer = lambda *_: OK
    bench.after(SCHEDULE[0])
    assert bench.receiver.positions[3:] == [1, 3]


def test_what_was_given_up_does_not_hold_up_its_order(bench: Bench) -> None:
    bench.endpoints.register(URL)
    order_id = bench.order()
    bench.receiver.answer = lambda _, data: FAILS if data["version"] == 1 else OK
    bench.deliver()
    bench.move(order_id, "cancelled")
    for pause in SCHEDULE:
        assert 2 not in bench.receiver.positions
        bench.after(pause)
    assert bench.receiver.positions[-1] == 2


def test_who_is_gone_is_left_alone_until_somebody_enables_it(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: GONE
    order_id = bench.order()
    bench.deliver()
    bench.move(order_id, "cancelled")
    bench.after(timedelta(days=30))

    assert len(bench.receiver.sent) == 1
    assert bench.only().disabled == "it answered 410 Gone"
    bench.receiver.answer = lambda *_: FAILS
    bench.endpoints.enable(endpoint.id)
    bench.deliver()
    assert bench.receiver.positions == [1, 1]
    bench.receiver.answer = lambda *_: OK
    bench.after(SCHEDULE[0])  # the first pause: it has lost no attempt by being gone
    assert bench.receiver.positions == [1, 1, 1, 2]
    assert (bench.only().disabled, bench.only().dead) == ("", 0)


def test_that_it_is_gone_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.endpoints.register(URL)
    together = Barrier(2)
    bench.receiver.answer = lambda *_: GONE if together.wait(30) >= 0 else OK
    bench.order()
    bench.order()
    bench.deliver()
    assert sorted(bench.receiver.positions) == [1, 2]
    assert [record.message for record in caplog.records if "disabled" in record.message] == [
        f"webhook endpoint {bench.only().id} is disabled: it answered 410"
    ]
    assert (bench.only().waiting, bench.only().failing) == (2, 0)


@pytest.mark.parametrize(("status", "arrived"), [(200, 1), (299, 1), (300, 0), (304, 0), (404, 0), (0, 0)])
def test_what_counts_as_arrived(bench: Bench, status: int, arrived: int) -> None:
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: Answer(status, "TimeoutError")
    bench.order()
    bench.deliver()
    assert (bench.only().delivered, bench.only().failing) == (arrived, 1 - arrived)


def test_an_id_is_that_of_a_ledger_an_endpoint_and_an_event(bench: Bench) -> None:
    endpoints = [bench.endpoints.register(url)[0].id for url in (URL, OTHER)]
    bench.order()
    bench.deliver()
    ledger = LedgerId(bench.store.database)()
    assert {headers["webhook-id"] for _, headers, _ in bench.receiver.sent} == {
        f"msg_{ledger}_{endpoint}_1" for endpoint in endpoints
    }


def test_what_becomes_of_one_endpoint_touches_no_other(bench: Bench) -> None:
    bench.endpoints.register(URL)
    other, _ = bench.endpoints.register(OTHER)
    order_id = bench.order()
    bench.receiver.answer = lambda *_: FAILS
    bench.deliver()
    bench.move(order_id, "cancelled")
    bench.now += SCHEDULE[0]
    bench.receiver.answer = lambda url, _: OK if url == OTHER else FAILS
    bench.deliver()
    told = [(each.delivered, each.waiting, each.failing) for each in bench.endpoints.all() if each.id == other.id]
    assert told == [(2, 0, 0)]
    assert [(each.delivered, each.waiting, each.failing) for each in bench.endpoints.all() if each.id != other.id] == [
        (0, 2, 1)
    ]


def test_one_endpoint_is_gone_and_no_other(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.endpoints.register(OTHER)
    bench.receiver.answer = lambda url, _: GONE if url == URL else OK
    bench.order()
    bench.deliver()
    assert {each.url: each.disabled for each in bench.endpoints.all()} == {URL: "it answered 410 Gone", OTHER: ""}


def test_what_was_gone_is_sent_as_soon_as_it_is_enabled(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: GONE
    bench.order()
    bench.deliver()
    bench.order()
    bench.deliver()
    assert bench.only().position == 1, "meanwhile the log waits"
    assert Queue(bench.store.database, jitter=lambda: 0.0).claim(endpoint.id, bench.now + LEASE, 1) == []
    bench.receiver.answer = lambda *_: OK
    bench.endpoints.enable(endpoint.id)
    bench.deliver()
    assert bench.receiver.positions[0] == 1
    assert sorted(bench.receiver.positions[1:]) == [1, 2]


def test_what_went_wrong_is_kept_in_a_few_words(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: Answer(0, "x" * 10_000)
    bench.order()
    bench.deliver()
    with bench.store.database.read() as cursor:
        assert cursor.execute("SELECT error FROM webhook_deliveries") == [("x" * 200,)]


def test_pauses_are_stretched_so_that_not_all_come_back_at_once(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.deliverer = Deliverer(bench.store.database, bench.receiver.send, clock=lambda: bench.now, jitter=lambda: 0.2)
    bench.receiver.answer = lambda *_: FAILS
    bench.order()
    bench.deliver()
    bench.after(SCHEDULE[0])
    assert len(bench.receiver.sent) == 1
    bench.after(SCHEDULE[0] * 0.2)
    assert len(bench.receiver.sent) == 2
