"""What the console shows at a glance, each by a bounded number of looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ledger.clock import Clock, utc_now
from ledger.statuses import Status
from ledger.storage import Cursor
from projections.checks import LastCheck, last_checks
from projections.health import moment_of
from projections.live import LiveViews
from projections.search import FoundOrder, OrderSearch, Sought

LATEST = 5_000
"""Orders that the figures by period are made of."""

PERIODS, FEWEST = 24, 8
"""As many periods are told of at most, and at least where that is known of so many."""

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_WIDTHS = (_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY)
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)  # from where all widths fall on whole hours, days and weeks


@dataclass(frozen=True, slots=True)
class Period:
    """The orders placed from a moment on (UTC), until the next period: how many have each status now, and their
    amounts together in cents."""

    start: datetime
    orders: Mapping[Status, int]
    amount: int


@dataclass(frozen=True, slots=True)
class Series:
    """Periods of one width, one after the other, the last of them with the latest order."""

    width: timedelta
    periods: Sequence[Period]


@dataclass(frozen=True, slots=True)
class Overview:
    """``minute`` and ``hour``: events of the last minute and hour. ``series`` is made of the ``latest`` newest orders,
    and has whole periods only."""

    head: int
    minute: int
    hour: int
    checkpoint: tuple[int, str] | None
    checks: Sequence[LastCheck]
    series: Series
    latest: int


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
        checkpoint = (rows[0][0], rows[0][1]) if rows else None
        series = series_of(page.orders, cut_off=page.before is not None)
        return Overview(head, minute, hour, checkpoint, checks, series, len(page.orders))


def series_of(orders: Sequence[FoundOrder], *, cut_off: bool) -> Series:
    """The orders by periods as long as it takes for all of them to fit. ``cut_off``: there are older ones."""
    placed = [(datetime.fromisoformat(order.placed_at), order) for order in orders if order.placed_at]
    if not placed:
        return Series(_DAY, [])
    first, last = min(placed, key=_moment)[0], max(placed, key=_moment)[0]
    width = next((each for each in _WIDTHS if (last - first) / each <= PERIODS - 1), _WIDTHS[-1])
    newest = (last - _MONDAY) // width
    oldest = max((first - _MONDAY) // width, newest - PERIODS + 1)
    if not cut_off:
        oldest = min(oldest, newest - FEWEST + 1)
    counts: dict[int, Counter[Status]] = {number: Counter() for number in range(oldest, newest + 1)}
    amounts = Counter[int]()
    for moment, order in placed:
        number = (moment - _MONDAY) // width
        if number >= oldest:
            counts[number][order.status] += 1
            amounts[number] += order.amount
    if cut_off and newest > oldest:
        del counts[oldest]  # there are more of it
    return Series(width, [Period(_MONDAY + n * width, counted, amounts[n]) for n, counted in counts.items()])


def _moment(placed: tuple[datetime, FoundOrder]) -> datetime:
    return placed[0]


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
