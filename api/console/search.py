"""The search for orders: by id, or by user, status, day and amount, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from api.console.fields import cents, is_number, number
from api.console.pages import Route, go, page
from api.console.session import PATH, Visitor
from api.problems import Refusal
from api.services import Services
from ledger.errors import LedgerError
from ledger.statuses import Status, parse_status
from projections.search_index import Sought

LIMIT = 50
_FIELDS = ("id", "user", "status", "from", "to", "min", "max")


class SearchPages:
    """The list of orders."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield Route("/orders", self.search_orders)

    def search_orders(self, visitor: Visitor) -> Response:
        """The orders that are sought, newest first."""
        asked = {name: request.args.get(name, "").strip() for name in _FIELDS}
        if is_number(asked["id"]):
            return go(f"{PATH}/orders/{asked['id']}")
        before = request.args.get("before", "")
        sought, faults = _sought(asked)
        if asked["id"]:
            faults["id"] = "An order's id is a number."
        found = None
        if not faults:
            found = self._services.search.page(sought, int(before) if is_number(before) else None, LIMIT)
        given = {name: value for name, value in asked.items() if value}
        return page(
            "orders.html",
            visitor=visitor,
            here="orders",
            asked=asked,
            faults=faults,
            found=found,
            statuses=list(Status),
            further=f"?{urlencode({**given, 'before': found.before})}" if found and found.before else None,
            first=f"?{urlencode(given)}" if before else None,
            currency=self._services.currency,
        )


def _sought(asked: Mapping[str, str]) -> tuple[Sought, dict[str, str]]:
    """What is sought, and what is wrong with what was asked, by field."""
    faults: dict[str, str] = {}

    def read(name: str, parse: Callable[[str], Any], fault: str) -> Any:
        if not asked[name]:
            return None
        try:
            return parse(asked[name])
        except (ValueError, OverflowError, LedgerError, Refusal):
            faults[name] = fault
            return None

    day = "A day is written as 2026-01-31."
    amount = "An amount is written as 12.50."
    sought = Sought(
        user=read("user", number, "A user's id is a number."),
        status=read("status", parse_status, "There is no such status."),
        placed_from=read("from", lambda text: date.fromisoformat(text).isoformat(), day),
        placed_before=read("to", lambda text: (date.fromisoformat(text) + timedelta(days=1)).isoformat(), day),
        amount_from=read("min", cents, amount),
        amount_to=read("max", cents, amount),
    )
    return sought, faults
