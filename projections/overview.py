"""What the console shows at a glance, each by a bounded number of looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.clock import Clock, utc_now
from ledger.statuses import Status
from ledger.storage import Cursor
from projections.checks import LastCheck, last_checks
from projections.health import moment_of
from projections.live import LiveViews
from projections.search import OrderSearch, Sought

LATEST = 5_000
"""Orders that the figures by day are made of."""


@dataclass(frozen=True, slots=True)
class Day:
    """The orders placed on a day (UTC): how many now have each status, and their amounts together in cents."""

    date: str
    orders: Mapping[Status, int]
    amount: int


@dataclass(frozen=True, slots=True)
class Overview:
    """``minute`` and ``hour``: events of the last minute and hour. ``days`` are made of the ``latest`` newest orders;
    ``cut_off``: and the first day lacks some."""

    head: int
    minute: int
    hour: int
    checkpoint: tuple[int, str] | None
    checks: Sequence[LastCheck]
    days: Sequence[Day]
    latest: int
    cut_off: bool


class OverviewReads:
    """The queries of the overview. It may raise StorageUnavailable."""

    def __init__(self, views: LiveViews, *, latest: int = LATEST, clock: Clock = utc_now) -> None:
        self._views = views
        self._search = OrderSearch(views, scanned=latest)
        self._latest = latest
        self._clock = clock

    def now(self) -> Overview:
        """Everything, as it is now."""
        page = self._search.page(Sought(), None, self._latest)
        with self._views.database.read() as cursor:
            head = int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])
            now = self._clock()
            minute, hour = (head - _position_at(cursor, head, now - ago) for ago in (_MINUTE, _HOUR))
            rows = cursor.execute("SELECT size, signed_at FROM log_checkpoints ORDER BY size DESC LIMIT 1")
            checks = last_checks(cursor)
        days: dict[str, tuple[dict[Status, int], int]] = {}
        for order in page.orders:
            counts, amount = days.get(order.placed_at[:10], ({}, 0))
            counts[order.status] = counts.get(order.status, 0) + 1
            days[order.placed_at[:10]] = counts, amount + order.amount
        told = [Day(date, *days[date]) for date in sorted(days)]
        checkpoint = (rows[0][0], rows[0][1]) if rows else None
        return Overview(head, minute, hour, checkpoint, checks, told, len(page.orders), page.before is not None)


_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


def _position_at(cursor: Cursor, head: int, moment: datetime) -> int:
    """The last position that was recorded by then: positions are in order of time, but for some clocks' differences."""
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        recorded = moment_of(cursor, middle)
        if recorded is not None and recorded > moment:
            high = middle - 1
        else:
            low = middle
    return low
