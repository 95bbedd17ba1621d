"""The geometry of the overview's charts, which templates draw as SVG, with their scales beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from api.console.pages import money, words
from ledger.statuses import Status
from projections.overview import Period, Series

WIDTH, HEIGHT = 640, 180
_GAP = 0.2  # of a bar's place
_STEPS = (1, 2, 4, 6, 8, 10)  # and none whose half is not whole


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle in the chart's units, what it is drawn as, and what it says."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, what stands beside them from the top to nothing, and below them from the first to the last."""

    bars: Sequence[Bar]
    heights: Sequence[str]
    moments: Sequence[str]


def orders_chart(series: Series) -> Chart:
    """A bar for each period, with a part for each status that its orders have now."""
    top = _rounded_up(max((sum(period.orders.values()) for period in series.periods), default=0))
    bars: list[Bar] = []
    for x, width, period in _places(series.periods):
        floor = float(HEIGHT)
        for status in Status:
            count = period.orders.get(status, 0)
            if count:
                height = count / top * HEIGHT
                floor -= height
                title = f"{label(period, series.width)}: {count:,} {words(status.value)}"
                bars.append(Bar(x, round(floor, 2), width, round(height, 2), status.value, title))
    return Chart(bars, [f"{top:,}", f"{top // 2:,}", "0"], _moments(series))


def amounts_chart(series: Series) -> Chart:
    """A bar for each period, as high as its orders' amounts."""
    top = _rounded_up(max((period.amount for period in series.periods), default=0), least=200)
    bars = []
    for x, width, period in _places(series.periods):
        height = period.amount / top * HEIGHT
        title = f"{label(period, series.width)}: {money(period.amount)}"
        bars.append(Bar(x, round(HEIGHT - height, 2), width, round(height, 2), "amount", title))
    return Chart(bars, [f"{top // 100:,}", f"{top // 200:,}", "0"], _moments(series))


def label(period: Period, width: timedelta) -> str:
    """When a period begins, as exactly as its width needs."""
    return f"{period.start:%Y-%m-%d}" if width >= timedelta(days=1) else f"{period.start:%Y-%m-%d %H:%M}"


def _moments(series: Series) -> list[str]:
    periods = series.periods
    shown = sorted({0, len(periods) // 2, len(periods) - 1}) if periods else []
    return [label(periods[number], series.width) for number in shown]


def _places(periods: Sequence[Period]) -> Iterator[tuple[float, float, Period]]:
    step = WIDTH / max(len(periods), 1)
    for number, period in enumerate(periods):
        yield round(number * step + step * _GAP / 2, 2), round(step * (1 - _GAP), 2), period


def _rounded_up(highest: int, *, least: int = 2) -> int:
    """The next number of one digit and zeros, for scales that are easily read."""
    size = 1
    while size * 10 < highest:
        size *= 10
    return max(least, next(size * step for step in _STEPS if size * step >= highest))
