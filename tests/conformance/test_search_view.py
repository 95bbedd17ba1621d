"""The view of the search on every storage: what is found in it, that it is what the log says, and how it is made."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem
from ledger.errors import NotProven
from ledger.statuses import Status
from projections.check import differences
from projections.live import LiveViews
from projections.migrate import migrate, missing
from projections.poison import PoisonEvent
from projections.search import FoundOrder, OrderSearch
from projections.search_follower import SearchFollower, begin_again, rebuild_search
from projections.search_index import Sought
from projections.searchable import BEHIND, positions
from projections.store import VIEWS
from tests.support.busy import EVENTS, make_busy
from tests.support.storages import STAFF, Store

ORDERS = 40


def follow(store: Store, batch: int = 7) -> None:
    follower = SearchFollower(store.database, batch=batch)
    while follower.step():
        pass


def search(store: Store, *, indexed: int = 1000, few: int = 1000) -> OrderSearch:
    return OrderSearch(LiveViews(store.database, VIEWS), scanned=1, indexed=indexed, few=few)


def plant(store: Store, statement: str) -> None:
    with store.database.write() as cursor:
        cursor.execute(statement)


@pytest.fixture
def forty(store: Store) -> Store:
    """Orders of four users with amounts in no order; every third is declined, every tenth cancelled."""
    rng = random.Random(7)
    for number in range(1, ORDERS + 1):
        buyer = Actor(number % 4 + 1, Role.CUSTOMER)
        store.ledger.create_order([CartItem("1", rng.randint(1, 9))], actor=buyer, cause=Cause())
        if number % 3 == 0:
            store.ledger.change_status(number, Status.DECLINED, actor=STAFF, cause=Cause())
        elif number % 10 == 0:
            store.ledger.change_status(number, Status.CANCELLED, actor=STAFF, cause=Cause())
    follow(store)
    return store


def everything(store: Store) -> list[FoundOrder]:
    reads = OrderSearch(LiveViews(store.database, VIEWS))
    return reads.page(Sought(), None, 1000).orders


def walked(store: Store, sought: Sought, limit: int, **bounds: int) -> list[FoundOrder]:
    found: list[FoundOrder] = []
    before = None
    for _ in range(ORDERS + 2):
        page = search(store, **bounds).page(sought, before, limit)
        assert len(page.orders) <= limit
        assert page.upto is None
        assert page.looked_at in {0, bounds["indexed"]}
        found.extend(page.orders)
        before = page.before
        if before is None:
            return found
    raise AssertionError("the pages have no end")


def is_sought(order: FoundOrder, sought: Sought) -> bool:
    low, high = sought.amounts
    return (
        sought.user in {None, order.user_id}
        and sought.status in {None, order.status}
        and low <= order.amount <= high
        and (sought.placed_from or "") <= order.placed_at < (sought.placed_before or "9")
    )


@pytest.mark.parametrize("bounds", [(50, 1000, 1000), (3, 1000, 0), (3, 5, 0), (1, 1, 0), (4, 1000, 12), (40, 40, 40)])
@pytest.mark.parametrize("user", [None, 2, 77])
@pytest.mark.parametrize("amounts", [(None, None), (4 * 1999, None), (None, 5 * 1999), (3 * 1999, 3 * 1999)])
def test_pages_of_every_combination_lose_and_double_nothing(
    forty: Store, bounds: tuple[int, int, int], user: int | None, amounts: tuple[int | None, int | None]
) -> None:
    limit, indexed, few = bounds
    orders = everything(forty)
    days = [(None, None), (orders[30].placed_at, orders[5].placed_at)]
    for status in (None, Status.PENDING, Status.DECLINED, Status.CANCELLED, Status.SHIPPED):
        for begin, end in days:
            sought = Sought(user, status, begin, end, *amounts)
            if sought not in {Sought(), Sought(user), Sought(user, status)} or (user is None and status):
                found = walked(forty, sought, limit, indexed=indexed, few=few)
                assert found == [order for order in orders if is_sought(order, sought)], sought


def test_an_index_has_them_however_few_they_are(forty: Store) -> None:
    for sought in (Sought(status=Status.CANCELLED), Sought(placed_before="2026-01-01T00:00:03")):
        page = search(forty, indexed=1).page(sought, None, 2)
        assert page.orders
        assert page.looked_at == 0


def test_what_has_happened_since_is_shown_as_it_is(forty: Store) -> None:
    pending = Sought(status=Status.PENDING, amount_from=0)
    before = search(forty).page(pending, None, 50)
    moved = before.orders[3].order_id
    forty.ledger.change_status(moved, Status.CANCELLED, actor=STAFF, cause=Cause())
    page = search(forty).page(pending, None, 50)
    assert [order.order_id for order in page.orders] == [o.order_id for o in before.orders if o.order_id != moved]
    with forty.database.read() as cursor:
        position, head = positions(cursor)
    assert (page.upto, position + 1) == (position, head)

    every = search(forty).page(Sought(amount_from=0), None, 50)
    [shown] = [order for order in every.orders if order.order_id == moved]
    assert (shown.status, shown.version) == (Status.CANCELLED, 2)
    follow(forty)
    assert search(forty).page(pending, None, 50) == replace(page, upto=None)


def test_a_view_that_lacks_too_much_is_not_used(forty: Store) -> None:
    sought = Sought(status=Status.CANCELLED)
    plant(forty, f"UPDATE followed SET position = position - {BEHIND + 1}")
    assert search(forty).page(sought, None, 50).looked_at == 1
    plant(forty, f"UPDATE followed SET position = position + {BEHIND + 2}")
    assert search(forty).page(sought, None, 50).looked_at == 1  # it is ahead of the log


@pytest.mark.parametrize("batch", [1, 2, 5, 1000])
def test_it_is_what_the_log_says(store: Store, batch: int) -> None:
    make_busy(store)
    follower = SearchFollower(store.database, batch=batch)
    while follower.step():
        store.assert_sound()  # at every position
    store.assert_sound()
    with store.database.read() as cursor:
        assert positions(cursor) == (EVENTS, EVENTS)
        rows = cursor.execute("SELECT width, status, orders, amount FROM order_periods")
    statuses = Counter(order.status.value for order in everything(store))
    for width in ("day", "hour"):
        assert {row[1]: row[2] for row in rows if row[0] == width} == statuses
        assert {row[3] for row in rows if row[0] == width} == {1999 + 3 * 1290}


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE order_search SET status = 'shipped' WHERE order_id = 4", "order_search: row (4,): status 'shipped'"),
        ("DELETE FROM order_search WHERE order_id = 4", "order_search: row (4,) of the replay is missing"),
        ("UPDATE order_periods SET orders = orders + 1 WHERE width = 'day'", "order_search: row ('day', "),
        ("DELETE FROM order_periods WHERE width = 'hour'", "order_search: row ('hour', "),
        ("UPDATE followed SET position = 99", "log: order_search is at position 99, but the log ends at"),
    ],
)
def test_check_compares_it_with_a_replay(store: Store, statement: str, finding: str) -> None:
    make_busy(store)
    follow(store)
    plant(store, statement)
    assert any(line.startswith(finding) for line in differences(store.database))


@pytest.mark.parametrize("batch", [3, 1000])
def test_it_is_made_again_while_the_orders_are_looked_through(forty: Store, batch: int) -> None:
    sought = Sought(status=Status.CANCELLED)
    before = search(forty).page(sought, None, 50)
    plant(forty, "UPDATE order_search SET status = 'shipped'")
    begin_again(forty.database)
    follower = SearchFollower(forty.database, batch=batch)
    while follower.step():
        forty.assert_sound()
        with forty.database.read() as cursor:
            position, _ = positions(cursor)
        if position < 0:
            assert OrderSearch(LiveViews(forty.database, VIEWS)).page(sought, None, 50).orders == before.orders
    assert search(forty).page(sought, None, 50) == before
    forty.assert_sound()


def test_a_ledger_from_before_it_gets_it_by_migrate(forty: Store) -> None:
    before = search(forty).page(Sought(status=Status.CANCELLED), None, 50)
    for table in ("order_search", "order_periods", "followed"):
        plant(forty, f"DROP TABLE {table}")
    assert missing(forty.database) == "The schema is a former release's: `order-ledger migrate` brings it up to date."
    migrate(forty.database)
    assert missing(forty.database) is None
    page = OrderSearch(LiveViews(forty.database, VIEWS)).page(Sought(status=Status.CANCELLED), None, 50)
    assert page.orders == before.orders  # by looking through them
    follow(forty)
    assert search(forty).page(Sought(status=Status.CANCELLED), None, 50) == before
    forty.assert_sound()


def test_a_rebuild_ends_where_the_log_ends(forty: Store) -> None:
    plant(forty, "DELETE FROM order_search")
    ended = rebuild_search(forty.database)
    assert (ended.phase, ended.done) == ("done", ended.head)
    forty.assert_sound()


def test_a_log_that_was_set_back_is_said(store: Store) -> None:
    make_busy(store)
    follow(store)
    plant(store, f"DELETE FROM events WHERE position = {EVENTS}")
    with pytest.raises(NotProven, match=f"ends at {EVENTS - 1}"):
        SearchFollower(store.database).step()


def test_an_order_that_was_never_made_is_not_moved(store: Store) -> None:
    make_busy(store)
    moved = '{"actor":{"user":null},"cause":{},"status":"shipped"}'
    plant(store, f"INSERT INTO events VALUES (17, 'order-77', 1, 'StatusChanged', '{moved}')")
    with pytest.raises(PoisonEvent, match=r"position 17 .* changes row \(77,\), which was never made"):
        follow(store, batch=1000)


def test_many_orders_of_a_batch_are_looked_up_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.search_follower._AT_ONCE", 2)
    make_busy(store)
    follow(store, batch=1000)
    assert differences(store.database) == []


def test_a_gap_and_an_event_that_makes_no_sense_change_nothing(store: Store) -> None:
    make_busy(store)
    plant(store, """INSERT INTO events VALUES (17, 'order-77', 1, 'StatusChanged', '{"status":1}')""")
    with pytest.raises(PoisonEvent, match="position 17"):
        follow(store, batch=1000)
    plant(store, "DELETE FROM events WHERE position = 17")
    plant(store, "INSERT INTO events VALUES (18, 's-1', 1, 'Unrelated', '{}')")
    with pytest.raises(NotProven, match="Position 17 is missing"):
        follow(store, batch=1000)
    with store.database.read() as cursor:
        assert positions(cursor)[0] == 0
        assert cursor.execute("SELECT count(*) FROM order_search") == [(0,)]
