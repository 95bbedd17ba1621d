"""The log as auditors read it, and histories, on every storage."""

from __future__ import annotations

import json

import pytest

from ledger.actor import Actor, Cause
from ledger.cart import CartItem
from ledger.statuses import Status
from ledger.storage.log import RecordedEvent
from projections import log
from projections.history import HistoryEntry, HistoryReads, as_of
from projections.log import LogReads, Wanted
from tests.support.storages import AUDITOR, CUSTOMER, OTHER, PAYMENTS, STAFF, Store


@pytest.fixture
def busy(store: Store) -> Store:
    """Three orders of two users: one paid, one cancelled, one as it was placed; 7 events."""
    for buyer in (CUSTOMER, OTHER, CUSTOMER):
        store.ledger.create_order([CartItem("1")], actor=buyer, cause=Cause(request_id="r"))
    store.ledger.record_payment(store.gateway.settle(1), actor=PAYMENTS, cause=Cause(stripe_event_id="evt_1"))
    store.ledger.change_status(2, Status.CANCELLED, actor=OTHER, cause=Cause())
    store.ledger.change_status(1, Status.SHIPPED, actor=STAFF, cause=Cause())
    return store


def positions(store: Store, wanted: Wanted, limit: int, scanned: int = 10_000) -> list[list[int]]:
    """The positions of each page, up to the end of the log."""
    reads, after, pages = LogReads(store.database, scanned=scanned), 0, []
    while True:
        page = reads.page(after, limit, wanted)
        pages.append([event.position for event in page.events])
        if page.ends_the_log:
            return pages
        assert page.last > after
        after = page.last


def positions_from_the_end(store: Store, wanted: Wanted, limit: int, scanned: int) -> list[list[int]]:
    """The positions of each page, from the end of the log to its beginning."""
    reads, before, pages = LogReads(store.database, scanned=scanned), None, []
    while True:
        page = reads.page_before(before, limit, wanted)
        assert page.last == (before or page.head + 1) - 1
        pages.append([event.position for event in page.events])
        if not page.after:
            return pages
        assert page.after < page.last
        before = page.after + 1


def test_pages_are_contiguous_and_bodies_what_is_stored(busy: Store) -> None:
    assert positions(busy, log.ALL, 3) == [[1, 2, 3], [4, 5, 6], [7]]
    assert positions(busy, log.ALL, 7) == [[1, 2, 3, 4, 5, 6, 7]]
    event = LogReads(busy.database).page(0, 1).events[0]
    stored = busy.recorder.select_events("order-1")[0].state.decode()
    assert log.rendered(event).endswith(f'"body":{stored}}}')
    assert json.loads(log.rendered(event))["position"] == 1


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(type="StatusChanged"), [5, 6, 7]),
        (Wanted(stream="order-1"), [1, 4, 5, 7]),
        (Wanted(user=CUSTOMER.user), [1, 3]),
        (Wanted(user=STAFF.user), [7]),
        (Wanted(type="OrderCreated", user=OTHER.user), [2]),
        (Wanted(stream="order-9"), []),
    ],
    ids=str,
)
@pytest.mark.parametrize("scanned", [2, 3, 10_000])
def test_filters(busy: Store, wanted: Wanted, expected: list[int], scanned: int) -> None:
    for limit in (1, 2, 1000):
        pages = positions(busy, wanted, limit, scanned)
        back = positions_from_the_end(busy, wanted, limit, scanned)
        assert [position for page in pages for position in page] == expected
        assert [position for page in reversed(back) for position in page] == expected
        assert max(map(len, pages + back)) <= limit


@pytest.mark.parametrize("body", ["not json", '{"actor":{"user":"x"}}', '{"a":"\\u0000"}', "[" * 100_000])
def test_an_event_that_was_written_over_keeps_no_other_from_being_found(busy: Store, body: str) -> None:
    with busy.database.write() as cursor:
        cursor.execute("UPDATE events SET body = ? WHERE position = 3", (body,))
    [found] = positions(busy, Wanted(user=CUSTOMER.user), 10)
    assert found == [1]


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        "null",
        "",
        '{"a":1} {"b":2}',
        "x\n\nid: 9\ndata: {}",
        '{"a":\n1}',
        '{"a":\r1}',
        "[" * 9999,
    ],
)
def test_a_body_that_is_no_object_in_a_line_is_a_string(body: str) -> None:
    line = log.rendered(RecordedEvent(3, "order-1", 2, "StatusChanged", body))
    assert json.loads(line)["body"] == body
    assert len(line.splitlines()) == 1


def test_a_page_looks_through_no_more_than_it_may(busy: Store) -> None:
    page = LogReads(busy.database, scanned=4).page(0, 10, Wanted(user=STAFF.user))
    assert (page.events, page.last, page.head) == ([], 4, 7)
    page = LogReads(busy.database, scanned=4).page_before(7, 10, Wanted(type="OrderCreated"))
    assert ([event.position for event in page.events], page.after, page.last) == ([3], 2, 6)


def test_the_end_of_the_log_and_beyond(busy: Store) -> None:
    page = LogReads(busy.database).page(7, 10)
    assert (page.events, page.last, page.head, page.ends_the_log) == ([], 7, 7, True)
    assert LogReads(busy.database).page(9, 10).head == 7
    page = LogReads(busy.database).page_before(None, 2)
    assert ([event.position for event in page.events], page.ends_the_log) == ([6, 7], True)
    assert LogReads(busy.database).page_before(99, 10) == LogReads(busy.database).page_before(None, 10)
    assert LogReads(busy.database).page_before(1, 10).events == []


def history(store: Store, order_id: int, reader: Actor) -> list[HistoryEntry]:
    found = HistoryReads(store.database).of(order_id, reader)
    assert found is not None
    return found


def test_a_history_says_what_each_event_changed(busy: Store) -> None:
    placed, paid, moved, shipped = history(busy, 1, CUSTOMER)
    assert [entry.position for entry in (placed, paid, moved, shipped)] == [1, 4, 5, 7]
    assert {name: (each.previous, each.current) for name, each in placed.changes.items()} == {
        "status": (None, "pending")
    }
    assert {name: (each.previous, each.current) for name, each in paid.changes.items()} == {
        "phase": (None, "received"),
        "received_in_cents": (0, 1999),
    }
    assert moved.changes["status"].previous == "pending"
    assert [entry.status for entry in (placed, paid, moved, shipped)] == [
        Status.PENDING,
        Status.PENDING,
        Status.ORDER_PAID,
        Status.SHIPPED,
    ]
    assert shipped.actor == STAFF.record()
    assert moved.cause == {"stripe_event_id": "evt_1"}
    assert placed.data["amount_in_cents"] == 1999


def test_a_history_is_for_whoever_may_see_the_order(busy: Store) -> None:
    reads = HistoryReads(busy.database)
    assert reads.of(1, OTHER) is None
    assert reads.of(99, AUDITOR) is None
    assert len(history(busy, 1, AUDITOR)) == len(history(busy, 1, STAFF)) == 4


def test_the_state_at_every_version_and_time(busy: Store) -> None:
    entries = history(busy, 1, AUDITOR)
    for number, entry in enumerate(entries):
        assert as_of(entries, entry.timestamp) is (entries[number + 1] if number == 1 else entry)
        document = busy.orders.at(1, entry.version, entry.status, CUSTOMER)
        assert document is not None
        assert (document.version, json.loads(document.body)["status"]) == (entry.version, entry.status)
    assert as_of(entries, "2025-12-31T23:59:59.000000Z") is None
    latest = busy.orders.at(1, 4, Status.SHIPPED, CUSTOMER)
    assert latest == busy.orders.detail(1, CUSTOMER)
    shown = busy.orders.at(1, 1, Status.PENDING, AUDITOR)
    assert shown is not None
    assert json.loads(shown.body)["clientSecret"] == ""
    assert busy.orders.at(1, 1, Status.PENDING, OTHER) is None
    assert busy.orders.at(99, 1, Status.PENDING, AUDITOR) is None


def test_an_event_dated_before_the_one_it_follows_has_not_happened_without_it() -> None:
    def entry(version: int, second: int) -> HistoryEntry:
        at = f"2026-01-01T00:00:0{second}.000000Z"
        return HistoryEntry(version, version, "StatusChanged", at, {}, {}, {}, {}, {"status": "pending"})

    entries = [entry(1, 1), entry(2, 5), entry(3, 3)]
    assert as_of(entries, "2026-01-01T00:00:04.000000Z") is entries[0]
    assert as_of(entries, "2026-01-01T00:00:05.000000Z") is entries[2]
