"""The overview: is the ledger sound, and what is going on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from flask import Response

from api.console.charts import HEIGHT, WIDTH, amounts_chart, label, orders_chart
from api.console.pages import Route, page
from api.console.session import Visitor
from api.services import Services
from ledger.statuses import Status
from projections.checks import most_telling
from projections.health import CHECKPOINT

_WORDS = {timedelta(minutes=1): "minute", timedelta(hours=1): "hour", timedelta(days=1): "day", timedelta(7): "week"}


class OverviewPages:
    """The first page."""

    def __init__(self, services: Services) -> None:
        self._overview = services.overview
        self._health = services.health
        self._currency = services.currency

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield Route("", self.show_overview)

    def show_overview(self, visitor: Visitor) -> Response:
        """Everything at a glance."""
        found = self._overview.now()
        series = found.series
        totals = sum((Counter(period.orders) for period in series.periods), Counter[Status]())
        return page(
            "overview.html",
            visitor=visitor,
            here="overview",
            found=found,
            checkpoint_name=CHECKPOINT,
            check=most_telling(found.checks),
            followers=self._health.followers(),
            symptoms=list(self._health.symptoms()),
            period=_in_words(series.width),
            rows=[(label(period, series.width), period) for period in reversed(series.periods)],
            totals={status: totals[status] for status in Status if totals[status]},
            orders=orders_chart(series),
            amounts=amounts_chart(series),
            size=(WIDTH, HEIGHT),
            currency=self._currency,
        )


def _in_words(width: timedelta) -> str:
    """``hour``, or ``6 hours``."""
    for unit, word in reversed(_WORDS.items()):
        if width % unit == timedelta(0):
            return word if width == unit else f"{width // unit} {word}s"
    raise ValueError(width)
