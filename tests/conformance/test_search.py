"""The console's search on every storage: what it finds, in which order, and how far a page looks."""

from __future__ import annotations

import pytest

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem
from ledger.statuses import Status
from projections.live import LiveViews
from projections.search import FoundOrder, OrderSearch
from projections.search_index import Sought
from projections.store import VIEWS
from tests.support.storages import STAFF, Store

ORDERS = 20


@pytest.fixture
def twenty(store: Store) -> Store:
    """Orders of four users; every third is declined, and each has one piece more than the one before."""
    for number in range(1, ORDERS + 1):
        buyer = Actor(number % 4 + 1, Role.CUSTOMER)
        store.ledger.create_order([CartItem("1", number)], actor=buyer, cause=Cause())
        if number % 3 == 0:
            store.ledger.change_status(number, Status.DECLINED, actor=STAFF, cause=Cause())
    return store


def search(store: Store, scanned: int = 1000) -> OrderSearch:
    return OrderSearch(LiveViews(store.database, VIEWS), scanned=scanned)


def walked(store: Store, sought: Sought, *, limit: int, scanned: int) -> tuple[list[FoundOrder], int]:
    """All that is found page by page, and how many pages that took."""
    found: list[FoundOrder] = []
    before, pages = None, 0
    while True:
        page = search(store, scanned).page(sought, before, limit)
        assert len(page.orders) <= limit
        assert page.looked_at <= scanned
        found.extend(page.orders)
        before, pages = page.before, pages + 1
        if before is None:
            return found, pages


def test_orders_are_found_as_they_are(twenty: Store) -> None:
    newest = search(twenty).page(Sought(), None, 1).orders[0]
    assert newest == FoundOrder(20, 1, Status.PENDING, 1, newest.placed_at, 20 * 1999)
    assert newest.placed_at.startswith("2026-01-01T00:")
    assert search(twenty).page(Sought(), 19, 1).orders[0].status is Status.DECLINED


@pytest.mark.parametrize(("limit", "scanned"), [(50, 1000), (1, 1000), (3, 7), (7, 3), (1, 1), (20, 20), (5, 20)])
@pytest.mark.parametrize(
    ("sought", "wanted"),
    [
        (Sought(), lambda _: True),
        (Sought(user=2), lambda order: order.user_id == 2),
        (Sought(status=Status.DECLINED), lambda order: order.status is Status.DECLINED),
        (Sought(user=2, status=Status.DECLINED), lambda order: order.order_id == 9),
        (Sought(amount_from=5 * 1999, amount_to=9 * 1999), lambda order: 5 <= order.order_id <= 9),
        (Sought(status=Status.SHIPPED), lambda _: False),
        (Sought(user=77), lambda _: False),
    ],
)
def test_pages_lose_and_double_nothing(twenty: Store, sought: Sought, wanted: object, limit: int, scanned: int) -> None:
    everything = [search(twenty).page(Sought(), number + 1, 1).orders[0] for number in range(ORDERS, 0, -1)]
    found, _ = walked(twenty, sought, limit=limit, scanned=scanned)
    assert found == [order for order in everything if wanted(order)]  # type: ignore[operator]


def test_days_begin_and_end_where_they_say(twenty: Store) -> None:
    placed = [order.placed_at for order in search(twenty).page(Sought(), None, 50).orders]
    found = search(twenty).page(Sought(placed_from=placed[12], placed_before=placed[4]), None, 50).orders
    assert [order.placed_at for order in found] == placed[5:13]


def test_a_page_looks_at_so_many_and_says_how_far_it_has_come(twenty: Store) -> None:
    page = search(twenty, 6).page(Sought(status=Status.SHIPPED), None, 50)
    assert (page.orders, page.before, page.looked_at) == ([], 15, 6)
    assert search(twenty, 6).page(Sought(), None, 2).looked_at == 2  # what matches everything needs no more
    last = search(twenty, 6).page(Sought(), 3, 50)
    assert (len(last.orders), last.before, last.looked_at) == (2, None, 2)
    assert search(twenty, 6).page(Sought(), 1, 50).before is None
