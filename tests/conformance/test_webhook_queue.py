"""The queue of webhooks on every storage: who takes what, how much of it, and what comes of those who are late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Semaphore
from typing import Any, cast

import pytest

from ledger.clock import rfc3339
from ledger.errors import StorageUnavailable
from ledger.storage import Database
from projections.webhooks.deliverer import AT_ONCE, EACH
from projections.webhooks.endpoints import hold
from projections.webhooks.queue import DUE, LEASE, SCHEDULE, Delivery, Queue
from projections.webhooks.sending import Answer
from tests.support.webhooks import FAILS, GONE, OK, OTHER, URL, Bench


def test_who_dies_while_sending_delays_and_loses_nothing(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.order()
    bench.die_at("claimed")
    bench.deliver()
    assert bench.receiver.sent == [], "it may still be sending"
    bench.after(LEASE)
    assert bench.receiver.positions == [1]


def test_two_who_deliver_do_not_tell_twice(bench: Bench) -> None:
    bench.endpoints.register(URL)
    for _ in range(3 * EACH):
        bench.order()
    other = bench.another()
    while bench.deliverer.step() | other.step():
        pass
    assert sorted(bench.receiver.positions) == list(range(1, 3 * EACH + 1))


def test_who_was_held_up_leaves_it_to_others(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.order()

    def hold_up(where: str) -> None:
        if where == "claimed":
            bench.now += LEASE

    bench.step_once(hold_up)
    assert bench.receiver.sent == []
    bench.deliver()
    assert bench.receiver.positions == [1]


def test_the_queue_of_one_endpoint_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.webhooks.queue.MOST_WAITING", 3)
    monkeypatch.setattr("projections.webhooks.queue.BATCH", 2)
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: FAILS
    for _ in range(6):
        bench.order()
    bench.deliver()
    assert (bench.only().waiting, bench.only().position) == (3, 3), "it ends with a part of a batch"
    bench.receiver.answer = lambda *_: OK
    bench.after(SCHEDULE[0])
    assert sorted(set(bench.receiver.positions)) == [1, 2, 3, 4, 5, 6]


def test_the_queue_of_one_endpoint_bounds_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.webhooks.queue.MOST_WAITING", 2)
    bench.endpoints.register(URL)
    bench.endpoints.register(OTHER)
    bench.receiver.answer = lambda url, _: FAILS if url == URL else OK
    for _ in range(4):
        bench.order()
    bench.deliver()
    assert {each.url: (each.position, each.waiting) for each in bench.endpoints.all()} == {URL: (2, 2), OTHER: (4, 0)}


def test_what_is_dead_leaves_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.webhooks.queue.MOST_WAITING", 1)
    endpoint, _ = bench.endpoints.register(URL)
    for _ in range(2):
        bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("INSERT INTO webhook_deliveries VALUES (?, 0, 'order-0', 10, '', 1, 'x')", (endpoint.id,))
    bench.deliver()
    assert bench.receiver.positions == [1, 2]


def test_a_long_log_is_queued_without_a_pause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when there is nothing to send of it, and when the last endpoint has enough."""
    monkeypatch.setattr("projections.webhooks.queue.BATCH", 2)
    for _ in range(5):
        bench.order()
    ids = [bench.endpoints.register(url, ["order.status_changed"], after=0)[0].id for url in (URL, OTHER)]
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE webhook_endpoints SET position = 4 WHERE id = ?", (max(ids),))
    bench.deliver()
    assert [endpoint.position for endpoint in bench.endpoints.all()] == [5, 5]


def test_what_is_no_event_of_an_order_is_passed_over(bench: Bench) -> None:
    bench.endpoints.register(URL)
    with bench.store.database.write() as cursor:
        cursor.execute("INSERT INTO events VALUES (1, 's-1', 1, 'Unrelated', '{}')")
    bench.deliver()
    assert (bench.only().position, bench.only().waiting, bench.only().dead) == (1, 0, 0)


def test_a_claim_does_not_look_at_all_that_waits(bench: Bench) -> None:
    rows = [(number, f"order-{number // 5}") for number in range(3000)]
    with bench.store.database.write() as cursor:
        cursor.executemany("INSERT INTO webhook_deliveries VALUES ('ep', ?, ?, 0, '', 0, '')", rows)
        cursor.execute("INSERT INTO webhook_endpoints VALUES ('ep', '', '', '', '', '[]', 0, '', 0, '')")
    explain = "EXPLAIN " if bench.store.database.dialect == "postgres" else "EXPLAIN QUERY PLAN "
    with bench.store.database.read() as cursor:
        assert [row[0] for row in cursor.execute(DUE, ("ep", "2030", 3))] == [0, 5, 10]
        plan = "\n".join(str(row[-1]) for row in cursor.execute(explain + DUE, ("ep", "2030", 3)))
    assert "webhook_deliveries_by_time" in plan
    assert "webhook_deliveries_by_stream" in plan
    assert "Sort" not in plan
    assert "Join Filter" not in plan
    assert "SCAN" not in plan


def test_one_endpoint_takes_up_no_more_than_its_share(bench: Bench) -> None:
    bench.endpoints.register(URL)
    for _ in range(2 * EACH):
        bench.order()
    ended = Event()
    bench.receiver.answer = lambda *_: OK if ended.wait(30) else FAILS
    for _ in range(2):
        bench.deliverer.step()
    with bench.store.database.read() as cursor:
        [(claimed,)] = cursor.execute("SELECT sum(attempts) FROM webhook_deliveries")
    ended.set()
    bench.deliver()
    assert claimed == EACH
    assert bench.only().delivered == 2 * EACH


def test_who_has_had_nothing_yet_comes_first(bench: Bench) -> None:
    """Four slow endpoints take up everything: what they leave is for the fifth, and not for them again."""
    urls = {f"https://shop{number}.example/" for number in range(AT_ONCE // EACH + 1)}
    for url in urls:
        bench.endpoints.register(url)
    for _ in range(2 * EACH):
        bench.order()
    slots = Semaphore(0)
    bench.receiver.answer = lambda *_: OK if slots.acquire(timeout=30) else FAILS
    bench.deliverer.step()
    slots.release()
    while len(bench.receiver.sent) <= AT_ONCE:
        bench.deliverer.step()
    told = {url for url, _, _ in bench.receiver.sent}
    slots.release(1000)
    bench.deliver()
    assert told == urls


def test_no_more_are_claimed_than_are_sent_at_once(bench: Bench) -> None:
    """What would wait for a thread, would wait on its lease."""
    for number in range(AT_ONCE // EACH + 1):
        bench.endpoints.register(f"https://shop{number}.example/")
    for _ in range(EACH):
        bench.order()
    claimed: list[int] = []

    def count(where: str) -> None:
        if where == "claimed":
            with bench.store.database.read() as cursor:
                claimed.extend(row[0] for row in cursor.execute("SELECT sum(attempts) FROM webhook_deliveries"))

    bench.step_once(count)
    assert claimed[-1] == AT_ONCE


def test_a_slow_endpoint_leaves_room_for_another(bench: Bench) -> None:
    slow, quick = "https://slow.example/", "https://quick.example/"
    bench.endpoints.register(slow)
    bench.endpoints.register(quick)
    for _ in range(30):
        bench.order()
    left, all_told = Counter({quick: 30}), Event()

    def answer(url: str, _: dict[str, object]) -> Answer:
        left[url] -= 1
        if left[quick] == 0:
            all_told.set()
        return OK if url == quick or all_told.wait(30) else FAILS

    bench.receiver.answer = answer
    bench.deliver()
    assert [endpoint.delivered for endpoint in bench.endpoints.all()] == [30, 30]
    assert len(bench.receiver.sent) == 60


class Beaten:
    """A database in which somebody else does something right before the next transaction."""

    def __init__(self, database: Database, faster: Callable[[], object]) -> None:
        self._database = database
        self._faster = [faster]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def transaction(self) -> Any:
        while self._faster:
            self._faster.pop()()
        return self._database.transaction()


def test_who_claims_what_another_has_just_claimed_gets_nothing(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    faster = Queue(bench.store.database, jitter=lambda: 0.0)
    faster.fill(endpoint.id, bench.now)
    claimed: list[Delivery] = []
    database = Beaten(bench.store.database, lambda: claimed.extend(faster.claim(endpoint.id, bench.now, 1)))
    slower = Queue(cast("Database", database), jitter=lambda: 0.0)
    assert slower.claim(endpoint.id, bench.now, 1) == []
    assert [each.position for each in claimed] == [1]


def test_what_is_claimed_is_sent_as_the_endpoint_is_by_then(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    Queue(bench.store.database, jitter=lambda: 0.0).fill(endpoint.id, bench.now)
    database = Beaten(bench.store.database, lambda: bench.endpoints.rotate(endpoint.id))
    [delivery] = Queue(cast("Database", database), jitter=lambda: 0.0).claim(endpoint.id, bench.now, 1)
    assert len(delivery.secrets) == 2

    def disable() -> None:
        with bench.store.database.write() as cursor:
            cursor.execute("UPDATE webhook_endpoints SET disabled = 'it was gone'")

    database = Beaten(bench.store.database, disable)
    assert Queue(cast("Database", database), jitter=lambda: 0.0).claim(endpoint.id, bench.now + LEASE, 1) == []


def test_an_endpoint_that_somebody_holds_keeps_no_other_waiting(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    if bench.store.database.dialect != "postgres":
        pytest.skip("SQLite has one writer at a time")
    held, _ = bench.endpoints.register(URL)
    bench.endpoints.register(OTHER)
    bench.order()
    with bench.store.database.transaction() as cursor:
        hold(cursor, bench.store.database, held.id)
        bench.deliver()
    assert {url for url, _, _ in bench.receiver.sent} == {OTHER}
    assert "wait for the database" not in caplog.text
    bench.deliver()
    assert {url for url, _, _ in bench.receiver.sent} == {OTHER, URL}


def test_what_is_removed_right_before_it_is_queued_or_claimed(bench: Bench) -> None:
    for step in (
        lambda queue, endpoint: queue.fill(endpoint, bench.now),
        lambda queue, endpoint: queue.claim(endpoint, bench.now, 1),
    ):
        endpoint, _ = bench.endpoints.register(URL)
        bench.order()
        Queue(bench.store.database, jitter=lambda: 0.0).fill(endpoint.id, bench.now)
        bench.order()
        database = Beaten(bench.store.database, lambda id=endpoint.id: bench.endpoints.remove(id))
        assert not step(Queue(cast("Database", database), jitter=lambda: 0.0), endpoint.id)


def test_a_failure_that_is_noted_too_late_holds_up_nothing(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.move(bench.order(), "cancelled")
    answers = [FAILS, OK, OK]

    def reply(*_: object) -> Answer:
        mine = answers.pop(0)
        if len(answers) == 2:
            bench.now += LEASE
            bench.step_once()
        return mine

    bench.receiver.answer = reply
    bench.step_once()
    bench.deliver()
    assert bench.receiver.positions == [1, 1, 2]
    assert (bench.only().delivered, bench.only().waiting) == (2, 0)


@pytest.mark.parametrize("answer", [OK, FAILS, GONE])
@pytest.mark.parametrize("late", [OK, FAILS, GONE])
def test_who_answers_after_its_lease_decides_nothing_for_the_next(bench: Bench, answer: Answer, late: Answer) -> None:
    """Only that it has arrived counts, whoever says so, and once."""
    endpoint, _ = bench.endpoints.register(URL)
    answers = [late, answer]

    def reply(*_: object) -> Answer:
        mine = answers.pop(0)
        if answers:
            bench.now += LEASE
            bench.step_once()
        return mine

    bench.receiver.answer = reply
    bench.order()
    bench.step_once()
    arrived = OK in (answer, late)
    assert (bench.only().delivered, bench.only().waiting) == (arrived, not arrived)
    assert bool(bench.only().disabled) == (GONE in (answer, late))
    if not arrived and answer is FAILS:  # the second attempt: another is due after the second pause
        bench.endpoints.enable(endpoint.id)
        bench.receiver.answer = lambda *_: OK
        bench.after(SCHEDULE[1] - timedelta(seconds=1))
        assert bench.only().delivered == 0
        bench.after(timedelta(seconds=1))
        assert bench.only().delivered == 1


def test_what_can_not_be_noted_is_sent_again(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailable("gone")

    bench.endpoints.register(URL)
    bench.order()
    with monkeypatch.context() as outage:
        outage.setattr(Queue, "delivered", fail)
        bench.deliver()
    assert "could not be noted" in caplog.text
    bench.after(LEASE)
    assert bench.receiver.positions == [1, 1]
    assert len({headers["webhook-id"] for _, headers, _ in bench.receiver.sent}) == 1
    assert bench.only().delivered == 1


def test_a_claim_that_fails_costs_the_others_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim = Queue.claim
    first, second = sorted(bench.endpoints.register(url)[0].id for url in (URL, OTHER))

    def fail(queue: Queue, endpoint: str, *arguments: Any) -> list[Delivery]:
        if endpoint == second:
            raise StorageUnavailable("locked")
        return claim(queue, endpoint, *arguments)

    bench.order()
    with monkeypatch.context() as outage:
        outage.setattr(Queue, "claim", fail)
        bench.deliver()
    assert {each.id: each.delivered for each in bench.endpoints.all()} == {first: 1, second: 0}
    assert f"the webhooks to {second} wait for the database: locked" in caplog.text
    bench.deliver()
    assert {each.id: each.delivered for each in bench.endpoints.all()} == {first: 1, second: 1}


def test_an_endpoint_that_can_not_be_filled_stops_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Queue.fill
    first, second = sorted(bench.endpoints.register(url)[0].id for url in (URL, OTHER))

    def fail(queue: Queue, endpoint: str, now: object) -> bool:
        if endpoint == first:
            raise StorageUnavailable("locked")
        return fill(queue, endpoint, now)  # type: ignore[arg-type]

    bench.order()
    monkeypatch.setattr(Queue, "fill", fail)
    bench.deliver()
    assert {each.id: each.delivered for each in bench.endpoints.all()} == {first: 0, second: 1}


def test_slow_endpoints_take_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there is room for: none is left out for good."""
    monkeypatch.setattr("projections.webhooks.deliverer.AT_ONCE", 2)
    monkeypatch.setattr("projections.webhooks.deliverer.EACH", 1)
    bench.deliverer = bench.another()
    for number in range(3):
        bench.endpoints.register(f"https://shop{number}.example/")
    for _ in range(6):
        bench.order()
    slots = Semaphore(0)
    bench.receiver.answer = lambda *_: OK if slots.acquire(timeout=30) else FAILS
    bench.deliverer.step()
    for sent in range(2, 11):
        while len(bench.receiver.sent) < sent:
            bench.deliverer.step()
        slots.release()
    told = Counter(url for url, _, _ in bench.receiver.sent)
    slots.release(1000)
    bench.deliver()
    assert sorted(told.values()) == [3, 3, 4]


def test_an_error_that_nobody_thought_of_is_told_and_is_nobody_else_s(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = (bench.endpoints.register(url)[0].id for url in (URL, OTHER))

    def fail(url: str, _: object) -> Answer:
        if url == URL:
            raise ZeroDivisionError
        return OK

    bench.receiver.answer = fail
    bench.order()
    bench.deliver()
    told = {each.id: (each.delivered, each.error) for each in bench.endpoints.all()}
    assert told == {bad: (0, "it could not be sent: ZeroDivisionError"), good: (1, "")}
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("damage", ["secret = ''", "secret = 'whsec_x'", "types = 'x'"])
def test_an_endpoint_that_was_written_over_stops_no_other(
    bench: Bench, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, _ = bench.endpoints.register(URL)
    bench.endpoints.register(OTHER)
    with bench.store.database.write() as cursor:
        cursor.execute(f"UPDATE webhook_endpoints SET {damage} WHERE id = '{bad.id}'")
    bench.order()
    bench.deliver()
    assert [url for url, _, _ in bench.receiver.sent] == [OTHER]
    assert "could not be sent" in caplog.text or f"the webhooks to {bad.id} can't be queued" in caplog.text


def due(bench: Bench) -> list[tuple[int, str]]:
    """The position of each delivery that waits, and when it is due."""
    with bench.store.database.read() as cursor:
        return [tuple(row) for row in cursor.execute("SELECT position, next_at FROM webhook_deliveries ORDER BY 1")]


def test_what_comes_behind_a_failure_is_due_when_that_is_and_at_once_when_it_arrives(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    order = bench.order()
    bench.receiver.answer = lambda *_: FAILS
    bench.deliver()
    bench.move(order, "cancelled")
    bench.deliver()
    moment = rfc3339(bench.now + SCHEDULE[0])
    assert due(bench) == [(1, moment), (2, moment)]

    bench.now += SCHEDULE[0]
    queue = Queue(bench.store.database, jitter=lambda: 0.0)
    [retried] = queue.claim(endpoint.id, bench.now, 9)
    assert retried.position == 1
    queue.delivered(endpoint.id, [retried])
    assert [each.position for each in queue.claim(endpoint.id, bench.now, 9)] == [2]


def test_what_comes_while_a_retry_is_on_its_way_waits_no_longer_than_that(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    order = bench.order()
    bench.receiver.answer = lambda *_: FAILS
    bench.deliver()
    bench.now += SCHEDULE[0]
    queue = Queue(bench.store.database, jitter=lambda: 0.0)
    retried = queue.claim(endpoint.id, bench.now, 9)
    bench.move(order, "cancelled")
    queue.fill(endpoint.id, bench.now)
    assert due(bench)[1] == (2, rfc3339(bench.now + LEASE))
    queue.delivered(endpoint.id, retried)
    assert [each.position for each in queue.claim(endpoint.id, bench.now, 9)] == [2]
