"""The search for orders, for staff and auditors: newest first, page by page.

A user's orders, in one status too, are found by the index of the order view, and all others in the view of the search,
which follows the log. What it finds is shown as it is now. While it is being made a page looks through a bounded number
of the orders themselves, and says how far it has come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ledger.statuses import Status
from ledger.storage import Cursor
from ledger.storage.tables import Row, marks
from projections.live import LiveSet, LiveViews
from projections.orders import newest_first
from projections.search_index import FEW, INDEXED, IndexedSearch, Sought
from projections.searchable import is_usable, positions

SCANNED = 10_000
"""Orders that one page looks through at most while the view of the search is not there."""

# Of the document only its ends are read: what is between is as long as the order.
_HEAD, _TAIL = 120, 40
_COLUMNS = (
    f"order_id, user_id, status, version, substr(document, 1, {_HEAD}),"
    f" substr(document, length(document) - {_TAIL - 1})"
)
_placed_at = re.compile(r'"date":"([^"]+)"').search
_amount = re.compile(r'"amountInCents":(\d+)$').search


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """An order as lists show it; the amount is in cents."""

    order_id: int
    user_id: int
    status: Status
    version: int
    placed_at: str
    amount: int


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Orders, newest first. ``before``: after which id to go on (``None``: nothing is left); ``looked_at``: how many
    orders the page has looked through, 0 when an index had them; ``upto``: from the event after this position on,
    orders may not be found yet (``None``: all are)."""

    orders: list[FoundOrder]
    before: int | None
    looked_at: int
    upto: int | None = None


class OrderSearch:
    """The queries of the search. Every method may raise StorageUnavailable."""

    def __init__(self, views: LiveViews, *, scanned: int = SCANNED, indexed: int = INDEXED, few: int = FEW) -> None:
        self._views = views
        self._scanned = scanned
        self._indexed = indexed
        self._few = few

    def page(self, sought: Sought, before: int | None, limit: int) -> SearchPage:
        """At most ``limit`` of the orders that are sought and older than the one with the id ``before``, as far as one
        page looks."""
        equal: dict[str, object] = {}
        if sought.user is not None:
            equal = {"user_id": sought.user} | ({"status": sought.status.value} if sought.status else {})
        nothing_else = sought == Sought(sought.user, sought.status if equal else None)
        page = None if nothing_else else self._followed_page(sought, before, limit)
        return page or self._scanned_page(sought, equal, before, limit, nothing_else=nothing_else)

    def _followed_page(self, sought: Sought, before: int | None, limit: int) -> SearchPage | None:
        """The page as the view of the search has it; ``None`` when that lacks too much."""
        with self._views.snapshot() as (cursor, live):
            position, head = positions(cursor)
            if not is_usable(position, head):
                return None
            search = IndexedSearch(cursor, self._views.database.dialect, indexed=self._indexed, few=self._few)
            rows, looked_at, further = search.found(sought, before, limit)
            now = _present(cursor, live, [row[0] for row in rows])
        orders = [_followed(row, *now[row[0]]) for row in rows if row[0] in now]
        shown = [each for each in orders if sought.status in {None, each.status}]
        return SearchPage(shown, further, looked_at, None if position == head else position)

    def _scanned_page(
        self, sought: Sought, equal: dict[str, object], before: int | None, limit: int, *, nothing_else: bool
    ) -> SearchPage:
        by_key, parameters = newest_first(self._views.database.dialect, equal, before)
        most = min(self._scanned, limit + 1) if nothing_else else self._scanned
        rows = self._views.read(f"SELECT {_COLUMNS} FROM {{orders}} {by_key} LIMIT ?", (*parameters, most))
        found: list[FoundOrder] = []
        for looked_at, row in enumerate(rows, 1):
            if _may_match(row, sought) and _matches(order := _found(row), sought):
                found.append(order)
                if len(found) == limit and looked_at < len(rows):
                    return SearchPage(found, order.order_id, looked_at)
        return SearchPage(found, rows[-1][0] if len(rows) == most else None, len(rows))


def _present(cursor: Cursor, live: LiveSet, order_ids: list[int]) -> dict[int, tuple[str, int]]:
    """The status and version that these orders have now."""
    if not order_ids:
        return {}
    query = live.named(f"SELECT order_id, status, version FROM {{orders}} WHERE order_id IN ({marks(order_ids)})")
    return {order_id: (status, version) for order_id, status, version in cursor.execute(query, order_ids)}


def _followed(row: Row, status: str, version: int) -> FoundOrder:
    order_id, user_id, _, placed_at, amount = row
    return FoundOrder(order_id, user_id, Status(status), version, placed_at, amount)


def _may_match(row: Row, sought: Sought) -> bool:
    return sought.status is None or row[2] == sought.status.value


def _matches(order: FoundOrder, sought: Sought) -> bool:
    return (
        (sought.placed_from is None or order.placed_at >= sought.placed_from)
        and (sought.placed_before is None or order.placed_at < sought.placed_before)
        and (sought.amount_from is None or order.amount >= sought.amount_from)
        and (sought.amount_to is None or order.amount <= sought.amount_to)
    )


def _found(row: Row) -> FoundOrder:
    order_id, user_id, status, version, head, tail = row
    date, amount = _placed_at(head), _amount(tail)
    return FoundOrder(
        order_id, user_id, Status(status), version, date[1] if date else "", int(amount[1]) if amount else 0
    )
