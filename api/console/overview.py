"""The overview: is the ledger sound, and what is going on."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response

from api.console.charts import HEIGHT, WIDTH, amounts_by_day, orders_by_day
from api.console.pages import Route, page
from api.console.session import Visitor
from api.services import Services
from ledger.statuses import Status
from projections.health import CHECKPOINT

DAYS = 14


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
        days = found.days[-DAYS:]
        totals = {status: sum(day.orders.get(status, 0) for day in days) for status in Status}
        return page(
            "overview.html",
            visitor=visitor,
            here="overview",
            found=found,
            checkpoint_name=CHECKPOINT,
            followers=self._health.followers(),
            symptoms=list(self._health.symptoms()),
            days=days,
            cut_off=found.cut_off and len(found.days) <= DAYS,
            statuses=list(Status),
            totals=totals,
            orders=orders_by_day(days),
            amounts=amounts_by_day(days),
            size=(WIDTH, HEIGHT),
            currency=self._currency,
        )
