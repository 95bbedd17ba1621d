"""The queries of the view of the search: each a range of one index, whose rows are few, or looked through to a bound.

Orders are found by the moment at which they were placed, of a user, in a status, or of all. Amounts that few orders
have are found by amount, instead: those of the right status, or in all statuses, which are as many ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.statuses import Status
from ledger.storage import Cursor
from ledger.storage.database import Dialect
from ledger.storage.tables import Row, marks
from projections.orders import NO_ORDER
from projections.searchable import SEARCHABLE

INDEXED = 50_000
"""Rows that one page looks through at most: 5 to 40 ms, the more when many of them were changed just now."""

FEW = 20_000
"""Orders with amounts that are sought, from which on it is better to look for them by time."""

_COLUMNS = ", ".join(SEARCHABLE.columns)
_NEWEST_FIRST = "ORDER BY placed_at DESC, order_id DESC"
_END = ("9999", NO_ORDER)

Key = tuple[str, int]
"""When an order was placed, and its id."""


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

    @property
    def amounts(self) -> tuple[int, int]:
        """The lowest and the highest amount that is sought."""
        return self.amount_from or 0, NO_ORDER if self.amount_to is None else self.amount_to


class IndexedSearch:
    """Looks in the view, at one moment of it: all queries are asked in one snapshot."""

    def __init__(self, cursor: Cursor, dialect: Dialect, *, indexed: int, few: int) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._indexed = indexed
        self._few = few

    def found(self, sought: Sought, before: int | None, limit: int) -> tuple[list[Row], int, int | None]:
        """The view's rows; how many were looked through, 0 when all were to be had; after which id to go on, if any."""
        end = min(self._key(before), (sought.placed_before or _END[0], 0 if sought.placed_before else _END[1]))
        if sought.user is None and self._has_few(sought):
            rows = self._by_amount(sought, end, limit + 1)
            looked_at, last = 0, None
        else:
            rows, looked_at, last = self._by_time(sought, end, limit + 1)
        if len(rows) > limit:
            return rows[:limit], 0, rows[limit - 1][0]
        return rows, looked_at, last

    def _key(self, before: int | None) -> Key:
        if before is None:
            return _END
        query = f"SELECT placed_at FROM {SEARCHABLE.name} WHERE order_id <= ? ORDER BY order_id DESC LIMIT 1"
        rows = self._cursor.execute(query, (before,))
        return (rows[0][0], before) if rows else ("", 0)

    def _has_few(self, sought: Sought) -> bool:
        """Whether only few orders have such amounts."""
        if sought.amount_from is None and sought.amount_to is None:
            return False
        condition, parameters = _of_amount(sought)
        query = f"SELECT count(*) FROM (SELECT 1 FROM {SEARCHABLE.name} {condition} LIMIT ?) AS found"
        return bool(self._cursor.execute(query, (*parameters, self._few + 1))[0][0] <= self._few)

    def _by_amount(self, sought: Sought, end: Key, limit: int) -> list[Row]:
        condition, parameters = _of_amount(sought)
        some = f"SELECT {_COLUMNS} FROM {SEARCHABLE.name} {condition} LIMIT ?"
        query = (
            f"SELECT {_COLUMNS} FROM ({some}) AS found WHERE placed_at >= ? AND (placed_at, order_id) < (?, ?)"
            f" {_NEWEST_FIRST} LIMIT ?"
        )
        return self._cursor.execute(query, (*parameters, self._few, sought.placed_from or "", *end, limit))

    def _by_time(self, sought: Sought, end: Key, limit: int) -> tuple[list[Row], int, int | None]:
        equal: dict[str, object] = {}
        if sought.user is not None:
            equal = {"user_id": sought.user}
        elif sought.status is not None:
            equal = {"status": sought.status.value}
        of_index, parameters = _between(self._dialect, equal, sought.placed_from or "", end)
        rest, values = _rest(sought)
        most = self._indexed if rest else limit
        some = f"SELECT {_COLUMNS} FROM {SEARCHABLE.name} {of_index} LIMIT ?"
        query = f"SELECT {_COLUMNS} FROM ({some}) AS found {rest} {_NEWEST_FIRST} LIMIT ?"
        rows = self._cursor.execute(query, (*parameters, most, *values, limit))
        if not rest or len(rows) == limit:
            return rows, 0, None
        query = f"SELECT order_id FROM {SEARCHABLE.name} {of_index} LIMIT 1 OFFSET ?"
        last = self._cursor.execute(query, (*parameters, most - 1))
        return rows, most if last else 0, last[0][0] if last else None


def _of_amount(sought: Sought) -> tuple[str, list[object]]:
    statuses = [status.value for status in ([sought.status] if sought.status else Status)]
    return f"WHERE status IN ({marks(statuses)}) AND amount >= ? AND amount <= ?", [*statuses, *sought.amounts]


def _rest(sought: Sought) -> tuple[str, Sequence[object]]:
    """What the index of ``_by_time`` does not know of."""
    conditions: dict[str, object] = {}
    if sought.user is not None and sought.status is not None:
        conditions["status = ?"] = sought.status.value
    if sought.amount_from is not None or sought.amount_to is not None:
        conditions["amount >= ?"], conditions["amount <= ?"] = sought.amounts
    return f"WHERE {' AND '.join(conditions)}" if conditions else "", [*conditions.values()]


def _between(dialect: Dialect, equal: Mapping[str, object], begin: str, end: Key) -> tuple[str, list[object]]:
    """The rows with these values, placed from ``begin`` on and before ``end``, newest first; see ``newest_first``."""
    names, values = ", ".join([*equal, "placed_at"]), [*equal.values()]
    with_moment = marks((*values, begin))
    order = ", ".join(f"{name} DESC" for name in (*equal, "placed_at", "order_id"))
    if dialect == "postgres":
        condition = f"({names}) >= ({with_moment}) AND ({names}, order_id) < ({with_moment}, ?)"
        return f"WHERE {condition} ORDER BY {order}", [*values, begin, *values, *end]
    conditions = [*(f"{name} = ?" for name in equal), "placed_at >= ?", "(placed_at, order_id) < (?, ?)"]
    return f"WHERE {' AND '.join(conditions)} ORDER BY {order}", [*values, begin, *end]
