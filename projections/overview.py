"""What the console shows at a glance: of small ledgers from the orders, of large ones from their counts by period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ledger.clock import Clock, utc_now
from ledger.statuses import Status
from ledger.storage import Cursor
from projections.checks import LastCheck, last_checks
from projections.health import moment_of
from projections.live import LiveViews
from projections.search import FoundOrder, OrderSearch
from projections.search_index import Sought
from projections.searchable import PERIODS as COUNTED
from projections.searchable import WIDTHS as COUNTED_WIDTHS
from projections.searchable import is_usable, positions

LATEST = 5_000
"""Orders that the figures by period are made of, where there are no more, or the counts lack too much."""

PERIODS, FEWEST = 24, 8
"""As many periods are told of at most, and at least where that is known of so many."""

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_WEEK = 7 * _DAY
_WIDTHS = (
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR),
    *(_DAY, _WEEK, 4 * _WEEK, 13 * _WEEK, 52 * _WEEK),
)
_REST = {"day": "T00:00:00Z", "hour": ":00:00Z"}  # of the moment at which a period of this width begins
_EXTENT = f"SELECT min(starts), max(starts), coalesce(sum(orders), 0) FROM {COUNTED.name} WHERE width = ?"
_SUMS = (
    f"SELECT status, CAST(sum(orders) AS bigint), CAST(sum(amount) AS bigint) FROM {COUNTED.name}"
    " WHERE width = ? AND starts >= ? AND starts < ? GROUP BY status"
)
"""By the database, and a query for each period that is shown: of ten years it would else answer 30,000 rows."""

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
    """``minute`` and ``hour``: events of the last minute and hour.

    ``series`` is made of ``counted`` orders. These are ``all`` of them, as they were after the event at ``upto``; or
    the newest ones as they are now, by whole periods.
    """

    head: int
    minute: int
    hour: int
    checkpoint: tuple[int, str] | None
    checks: Sequence[LastCheck]
    series: Series
    counted: int
    all: bool
    upto: int


@dataclass(frozen=True, slots=True)
class Placed:
    """So many orders that were placed at a moment, or from then on in a period, and have one status now."""

    moment: datetime
    status: Status
    orders: int
    amount: int


class OverviewReads:
    """The queries of the overview. It may raise StorageUnavailable."""

    def __init__(self, views: LiveViews, *, latest: int = LATEST, clock: Clock = utc_now) -> None:
        self._views = views
        self._search = OrderSearch(views, scanned=latest)
        self._latest = latest
        self._clock = clock

    def now(self) -> Overview:
        """Everything, as it is now."""
        series, counted, of_all, upto = self._series()
        with self._views.database.read() as cursor:
            head = int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])
            now = self._clock()
            minute, hour = (head - _position_at(cursor, head, now - ago) for ago in (_MINUTE, _HOUR))
            rows = cursor.execute("SELECT size, signed_at FROM log_checkpoints ORDER BY size DESC LIMIT 1")
            checks = last_checks(cursor)
        checkpoint = (rows[0][0], rows[0][1]) if rows else None
        return Overview(head, minute, hour, checkpoint, checks, series, counted, of_all, upto)

    def _series(self) -> tuple[Series, int, bool, int]:
        """The series; of how many orders; whether these are all; up to which position."""
        with self._views.snapshot() as (cursor, _):
            position, head = positions(cursor)
            if is_usable(position, head):
                [(*days, counted)] = cursor.execute(_EXTENT, ("day",))
                if counted > self._latest:
                    return _counted_series(cursor, days), int(counted), True, position
        page = self._search.page(Sought(), None, self._latest)
        cut_off = page.before is not None
        return series_of(list(_each(page.orders)), cut_off=cut_off), len(page.orders), not cut_off, head


def series_of(placed: Sequence[Placed], *, cut_off: bool = False) -> Series:
    """The orders by periods as long as it takes for all of them to fit. ``cut_off``: there are older ones."""
    if not placed:
        return Series(_DAY, [])
    first, last = min(each.moment for each in placed), max(each.moment for each in placed)
    width = _fitting(first, last, _MINUTE)
    return _series_in(width, _numbers(first, last, width, cut_off=cut_off), placed, cut_off=cut_off)


def _counted_series(cursor: Cursor, extent: Sequence[str]) -> Series:
    """That of all orders, by the counts of the days that they were placed on, or of their hours."""
    unit, at_least = "day", _DAY
    first, last = (_moment(starts, unit) for starts in extent)
    if (last - first) / _DAY < FEWEST:
        unit, at_least = "hour", _HOUR
        [(*extent, _)] = cursor.execute(_EXTENT, (unit,))
        first, last = (_moment(starts, unit) for starts in extent)
    width = _fitting(first, last, at_least)
    numbers = _numbers(first, last, width)
    return _series_in(width, numbers, _sums(cursor, unit, width, numbers))


def _fitting(first: datetime, last: datetime, at_least: timedelta) -> timedelta:
    fitting = (each for each in _WIDTHS if each >= at_least and (last - first) / each <= PERIODS - 1)
    return next(fitting, _WIDTHS[-1])


def _numbers(first: datetime, last: datetime, width: timedelta, *, cut_off: bool = False) -> range:
    """Of the periods that are told of, counted from _MONDAY."""
    newest = (last - _MONDAY) // width
    oldest = max((first - _MONDAY) // width, newest - PERIODS + 1)
    return range(oldest if cut_off else min(oldest, newest - FEWEST + 1), newest + 1)


def _series_in(width: timedelta, numbers: range, placed: Iterable[Placed], *, cut_off: bool = False) -> Series:
    counts: dict[int, Counter[Status]] = {number: Counter() for number in numbers}
    amounts = Counter[int]()
    for each in placed:
        number = (each.moment - _MONDAY) // width
        if number in counts:
            counts[number][each.status] += each.orders
            amounts[number] += each.amount
    if cut_off and len(numbers) > 1:
        del counts[numbers[0]]  # there are more of it
    return Series(width, [Period(_MONDAY + n * width, counted, amounts[n]) for n, counted in counts.items()])


def _each(orders: Sequence[FoundOrder]) -> Iterator[Placed]:
    for order in orders:
        if order.placed_at:
            yield Placed(datetime.fromisoformat(order.placed_at), order.status, 1, order.amount)


def _sums(cursor: Cursor, unit: str, width: timedelta, numbers: range) -> Iterator[Placed]:
    """What was placed in each of these periods, by its days or hours."""
    for number in numbers:
        start, end = (_MONDAY + each * width for each in (number, number + 1))
        bounds = [moment.isoformat()[: COUNTED_WIDTHS[unit]] for moment in (start, end)]
        for status, orders, amount in cursor.execute(_SUMS, (unit, *bounds)):
            yield Placed(start, Status(status), orders, amount)


def _moment(starts: str, unit: str) -> datetime:
    return datetime.fromisoformat(f"{starts}{_REST[unit]}")


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
