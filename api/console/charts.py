"""The geometry of the overview's charts, which templates draw as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.statuses import Status
from projections.overview import Day

WIDTH, HEIGHT = 640, 180
_GAP = 0.25  # of a bar's place


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle in the chart's units, what it is drawn as, and what it says."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


def orders_by_day(days: Sequence[Day]) -> list[Bar]:
    """A bar for each day, with a part for each status that its orders have now."""
    highest = max((sum(day.orders.values()) for day in days), default=1)
    bars = []
    for number, day in enumerate(days):
        floor = float(HEIGHT)
        for status in Status:
            count = day.orders.get(status, 0)
            if count:
                height = count / highest * HEIGHT
                floor -= height
                title = f"{day.date}: {count:,} {status.value.replace('_', ' ')}"
                bars.append(Bar(*_place(number, len(days), floor), round(height, 2), status.value, title))
    return bars


def amounts_by_day(days: Sequence[Day]) -> list[Bar]:
    """A bar for each day, as high as its orders' amounts."""
    highest = max((day.amount for day in days), default=0) or 1
    bars = []
    for number, day in enumerate(days):
        height = day.amount / highest * HEIGHT
        x, y, width = _place(number, len(days), HEIGHT - height)
        bars.append(Bar(x, y, width, round(height, 2), "amount", f"{day.date}: {day.amount / 100:,.2f}"))
    return bars


def _place(number: int, count: int, y: float) -> tuple[float, float, float]:
    step = WIDTH / max(count, 7)
    return round(number * step + step * _GAP / 2, 2), round(y, 2), round(step * (1 - _GAP), 2)
