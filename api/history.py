"""What happened to an order: every event of it, in the API's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask import Response

from api import history_doc, openapi
from api.answers import json_answer
from api.callers import Callers
from api.problems import problem
from api.services import Services
from projections.history import HistoryEntry

_snake = re.compile("_([a-z])")


class HistoryRoutes:
    """The histories of orders."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._history = services.history
        self._callers = callers

    def blueprint(self) -> Any:
        """The route with its documentation."""
        routes = openapi.blueprint("History", "What happened, when, who did it and why.")
        path = "/orders/<order_id:orderId>/history"
        openapi.operation(routes, path, "GET", self.get_history, **history_doc.HISTORY)
        return routes

    def get_history(self, orderId: int) -> Response:  # noqa: N803  # the name in the documented path
        """What happened to an order

        Every event, oldest first, for whoever may see the order: when, who did it, why, and what it changed.
        """
        history = self._history.of(orderId, self._callers.actor())
        if history is None:
            return problem("no-such-order", f"There is no order {orderId}.")
        return json_answer([_event(entry) for entry in history])


def _event(entry: HistoryEntry) -> dict[str, Any]:
    changes = {name: {"previous": each.previous, "current": each.current} for name, each in entry.changes.items()}
    return {
        "position": entry.position,
        "version": entry.version,
        "type": entry.type,
        "timestamp": entry.timestamp,
        "actor": _in_camel_case(entry.actor),
        "cause": _in_camel_case(entry.cause),
        "changes": _in_camel_case(changes),
        "data": _in_camel_case(entry.data),
    }


def _in_camel_case(value: Any) -> Any:
    """The same JSON, its members named as the API names them."""
    if isinstance(value, Mapping):
        return {_snake.sub(lambda found: found[1].upper(), name): _in_camel_case(each) for name, each in value.items()}
    return [_in_camel_case(each) for each in value] if isinstance(value, list) else value
