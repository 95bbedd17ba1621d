"""The overview's charts: bars in proportion, and scales that are easily read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.console.charts import HEIGHT, WIDTH, amounts_chart, label, orders_chart
from ledger.statuses import Status
from projections.overview import Period, Series

DAY = timedelta(days=1)


def series(*days: tuple[dict[Status, int], int], width: timedelta = DAY) -> Series:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    return Series(width, [Period(start + number * width, *day) for number, day in enumerate(days)])


def test_bars_are_in_proportion_and_stand_on_one_another() -> None:
    chart = orders_chart(series(({Status.PENDING: 3, Status.SHIPPED: 1}, 0), ({}, 0), ({Status.SHIPPED: 2}, 0)))
    pending, shipped, later = chart.bars
    assert (pending.kind, pending.title) == ("pending", "2026-03-02: 3 pending")
    assert (pending.height, pending.y) == (HEIGHT * 3 / 4, HEIGHT / 4)
    assert (shipped.x, shipped.height, shipped.y) == (pending.x, HEIGHT / 4, 0)
    assert (later.height, later.y) == (HEIGHT / 2, HEIGHT / 2)
    assert pytest.approx(WIDTH * 2 / 3, abs=0.01) == later.x - pending.x
    assert list(chart.heights) == ["4", "2", "0"]
    assert list(chart.moments) == ["2026-03-02", "2026-03-03", "2026-03-04"]


@pytest.mark.parametrize(
    ("highest", "heights"),
    [
        (0, ["2", "1", "0"]),
        (1, ["2", "1", "0"]),
        (5, ["6", "3", "0"]),
        (10, ["10", "5", "0"]),
        (11, ["20", "10", "0"]),
        (4_100_000, ["6,000,000", "3,000,000", "0"]),
    ],
)
def test_scales(highest: int, heights: list[str]) -> None:
    assert list(orders_chart(series(({Status.PENDING: highest}, 0))).heights) == heights
    assert list(amounts_chart(series(({}, highest * 100))).heights) == heights


def test_amounts_say_what_they_are() -> None:
    [bar] = amounts_chart(series(({}, 123_456_789), width=timedelta(hours=1))).bars
    assert bar.title == "2026-03-02 00:00: 1,234,567.89"


def test_without_orders_there_is_nothing_to_draw() -> None:
    chart = orders_chart(series())
    assert (list(chart.bars), list(chart.moments)) == ([], [])


def test_labels_are_as_exact_as_the_periods() -> None:
    period = Period(datetime(2026, 3, 2, 6, 5, tzinfo=UTC), {}, 0)
    assert label(period, timedelta(minutes=5)) == "2026-03-02 06:05"
    assert label(period, timedelta(days=7)) == "2026-03-02"
