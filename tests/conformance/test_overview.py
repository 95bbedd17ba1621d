"""What the console shows at a glance, on every storage: the log's pace, and the newest orders by period."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from ledger.actor import Cause
from ledger.statuses import Status
from projections.checks import EVERYTHING, note_check
from projections.live import LiveViews
from projections.overview import FEWEST, PERIODS, OverviewReads, Placed, series_of
from projections.search_follower import SearchFollower
from projections.store import VIEWS
from projections.transparency import Follower
from tests.support.busy import EVENTS, log_key, make_busy
from tests.support.storages import STAFF, Store

KEY = log_key()
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def overview(store: Store, *, later: float = 0, latest: int = 1000) -> OverviewReads:
    now = store.ports.clock() + timedelta(seconds=later)
    return OverviewReads(LiveViews(store.database, VIEWS), latest=latest, clock=lambda: now)


def test_an_empty_ledger(store: Store) -> None:
    found = overview(store).now()
    assert (found.head, found.minute, found.hour, found.counted, found.all) == (0, 0, 0, 0, True)
    assert (found.checkpoint, list(found.checks), list(found.series.periods)) == (None, [], [])


def test_the_pace_of_the_log(store: Store) -> None:
    make_busy(store)
    assert overview(store).now().head == EVENTS
    with store.database.read() as cursor:
        bodies = [row[0] for row in cursor.execute("SELECT body FROM events ORDER BY position")]
    moments = [datetime.fromisoformat(json.loads(body)["timestamp"]) for body in bodies]
    for now in (moments[0] + timedelta(seconds=seconds) for seconds in range(3700)):
        if now in moments or now.second % 7 == 0:
            reads = OverviewReads(LiveViews(store.database, VIEWS), clock=lambda now=now: now)  # type: ignore[misc]
            found = reads.now()
            assert found.minute == EVENTS - sum(moment <= now - timedelta(minutes=1) for moment in moments)
            assert found.hour == EVENTS - sum(moment <= now - timedelta(hours=1) for moment in moments)


def test_the_last_checkpoint_and_checks(store: Store) -> None:
    make_busy(store)
    follower = Follower(store.database, [KEY], KEY.name, clock=lambda: NOON)
    while follower.step():
        pass
    note_check(store.database, "orders", NOON, 7, 3)
    note_check(store.database, EVERYTHING, NOON - timedelta(days=1), 5, 1)
    note_check(store.database, EVERYTHING, NOON + timedelta(days=1), EVENTS, 0)
    found = overview(store).now()
    assert found.checkpoint == (EVENTS, "2026-03-02T12:00:00.000000Z")
    assert [(each.subject, each.head, each.findings) for each in found.checks] == [
        (EVERYTHING, EVENTS, 0),
        ("orders", 7, 3),
    ]


def test_the_newest_orders_by_period(store: Store) -> None:
    make_busy(store)
    series = overview(store).now().series
    assert sum(sum(period.orders.values()) for period in series.periods) == 4
    assert sum(period.amount for period in series.periods) == 4 * (1999 + 3 * 1290)
    assert series.periods[-1].orders == {
        Status.COMPLETED: 1,
        Status.CANCELLED: 1,
        Status.ORDER_PAID: 1,
        Status.PENDING: 1,
    }
    newest = overview(store, latest=3).now()
    assert (newest.counted, newest.all) == (3, False)  # the counts are not there yet


def test_all_orders_by_period_from_their_counts(store: Store) -> None:
    make_busy(store)
    whole = overview(store).now()
    follower = SearchFollower(store.database, batch=3)
    while follower.step():
        pass
    counted = overview(store, latest=3).now()
    assert (counted.counted, counted.all, counted.upto) == (4, True, EVENTS)
    assert counted.series.width == timedelta(hours=1)
    last, before = counted.series.periods[-1], whole.series.periods
    assert last.orders == before[-1].orders
    assert last.amount == sum(period.amount for period in before)

    store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
    late = overview(store, latest=3).now()
    assert (late.upto, late.head) == (EVENTS, EVENTS + 1)
    assert late.series == counted.series
    assert follower.step() is False
    now = overview(store, latest=3).now().series.periods[-1]
    assert (now.orders[Status.CANCELLED], now.orders.get(Status.PENDING, 0)) == (2, 0)


def test_old_ledgers_are_counted_by_the_day(store: Store) -> None:
    make_busy(store)
    plant = "INSERT INTO order_periods (width, starts, status, orders, amount) VALUES (?, ?, ?, ?, ?)"
    with store.database.write() as cursor:
        for year in range(1990, 2030):
            cursor.execute(plant, ("day", f"{year}-06-01", "completed", year, 100 * year))
        cursor.execute("UPDATE followed SET position = ?", (EVENTS,))
    found = overview(store, latest=3).now()
    assert (found.series.width, len(found.series.periods)) == (timedelta(weeks=52), PERIODS)
    assert found.counted == sum(range(1990, 2030))
    assert found.series.periods[-1].orders == {Status.COMPLETED: 2029}


def placed(*minutes: float) -> list[Placed]:
    """Orders placed so many minutes before noon, a Monday's, of one dollar each."""
    moments = [NOON - timedelta(minutes=each) for each in minutes]
    return [Placed(moment, Status.PENDING, 1, 100) for moment in moments]


@pytest.mark.parametrize(
    ("oldest", "width"),
    [
        (0, timedelta(minutes=1)),
        (23, timedelta(minutes=1)),
        (24, timedelta(minutes=5)),
        (5 * 60, timedelta(minutes=15)),
        (23 * 60, timedelta(hours=1)),
        (5 * 24 * 60, timedelta(hours=6)),
        (14 * 24 * 60, timedelta(days=1)),
        (90 * 24 * 60, timedelta(days=7)),
        (300 * 24 * 60, timedelta(weeks=4)),
        (900 * 24 * 60, timedelta(weeks=13)),
        (9000 * 24 * 60, timedelta(weeks=52)),
        (90000 * 24 * 60, timedelta(weeks=52)),
    ],
)
def test_periods_are_as_long_as_it_takes(oldest: int, width: timedelta) -> None:
    series = series_of(placed(0, oldest), cut_off=False)
    assert series.width == width
    assert FEWEST <= len(series.periods) <= PERIODS
    starts = [period.start for period in series.periods]
    assert starts[-1] <= NOON < starts[-1] + width
    assert {later - earlier for earlier, later in pairwise(starts)} == {width}
    assert all((start - datetime(1970, 1, 5, tzinfo=UTC)) % width == timedelta(0) for start in starts)
    within = 2 if NOON - timedelta(minutes=oldest) >= starts[0] else 1
    assert sum(period.orders.get(Status.PENDING, 0) for period in series.periods) == within
    assert sum(period.amount for period in series.periods) == within * 100


def test_a_period_that_may_lack_some_is_left_out() -> None:
    orders = placed(0, 60, 120, 600)
    whole, cut_off = series_of(orders, cut_off=False), series_of(orders, cut_off=True)
    assert list(cut_off.periods) == list(whole.periods)[1:] if len(whole.periods) > FEWEST else True
    assert sum(period.amount for period in whole.periods) == 400
    assert sum(period.amount for period in cut_off.periods) == 300


def test_the_only_period_is_shown_though_it_may_lack_some() -> None:
    assert [period.amount for period in series_of(placed(0, 0), cut_off=True).periods] == [200]
