"""The search for orders, for staff and auditors: newest first, page by page.

A page looks through a bounded number of orders, by key, and says how far it has come: what matches little takes more
pages, and none costs more than another. A user's orders are found by their index, in one status, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ledger.statuses import Status
from ledger.storage.tables import Row
from projections.live import LiveViews
from projections.orders import newest_first

SCANNED = 10_000
"""Orders that one page looks through at most."""

# Of the document only its ends are read: what is between is as long as the order.
_HEAD, _TAIL = 120, 40
_COLUMNS = (
    f"order_id, user_id, status, version, substr(document, 1, {_HEAD}),"
    f" substr(document, length(document) - {_TAIL - 1})"
)
_placed_at = re.compile(r'"date":"([^"]+)"').search
_amount = re.compile(r'"amountInCents":(\d+)$').search


@dataclass(frozen=True, slots=True)
class Sought:
    """Which orders: ``None`` is any. Times are as events write them, and as the first to be in and the first to be out;
    amounts are in cents, both ends included."""

    user: int | None = None
    status: Status | None = None
    placed_from: str | None = None
    placed_before: str | None = None
    amount_from: int | None = None
    amount_to: int | None = None


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
    """Orders, newest first. ``before``: below which id to go on (``None``: nothing is left); ``looked_at``: how many
    orders the page has looked through."""

    orders: list[FoundOrder]
    before: int | None
    looked_at: int


class OrderSearch:
    """The queries of the search. Every method may raise StorageUnavailable."""

    def __init__(self, views: LiveViews, *, scanned: int = SCANNED) -> None:
        self._views = views
        self._scanned = scanned

    def page(self, sought: Sought, before: int | None, limit: int) -> SearchPage:
        """At most ``limit`` of the orders with ids below ``before`` that are sought, as far as one page looks."""
        equal: dict[str, object] = {}
        if sought.user is not None:
            equal = {"user_id": sought.user} | ({"status": sought.status.value} if sought.status else {})
        by_key, parameters = newest_first(self._views.database.dialect, equal, before)
        nothing_else = sought == Sought(sought.user, sought.status if equal else None)
        most = min(self._scanned, limit + 1) if nothing_else else self._scanned
        rows = self._views.read(f"SELECT {_COLUMNS} FROM {{orders}} {by_key} LIMIT ?", (*parameters, most))
        found: list[FoundOrder] = []
        for looked_at, row in enumerate(rows, 1):
            if _may_match(row, sought) and _matches(order := _found(row), sought):
                found.append(order)
                if len(found) == limit and looked_at < len(rows):
                    return SearchPage(found, order.order_id, looked_at)
        return SearchPage(found, rows[-1][0] if len(rows) == most else None, len(rows))


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
