"""Endpoints about the service itself: probes, metrics, the index and the explanations of problems."""

from __future__ import annotations

import logging
import re
from html import escape
from typing import Any

from flask import Response

from api import metrics, openapi
from api.answers import IndexSchema, StateSchema, json_answer
from api.metrics import Metrics
from api.openapi import PUBLIC, answer, parameter, problems
from api.problem_types import PROBLEM_TYPES
from api.problems import problem
from api.request_ids import current_request_id
from api.services import Services
from ledger.errors import StorageUnavailable

_log = logging.getLogger(__name__)
_code = re.compile("`([^`]*)`").sub
_TEXT = {"type": "string"}
_INDEX = {"name": "Order ledger", "documentation": "/docs", "openapi": "/openapi.json"}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>Status {status} &middot; <code>/problems/{slug}</code></p>
<p>{explanation}</p>
</body>
</html>
"""


class ServiceRoutes:
    """Public, and without effect on the ledger."""

    def __init__(self, services: Services, counted: Metrics) -> None:
        self._health = services.health
        self._metrics = counted

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint("Service", "The service itself.")
        state = answer(200, "It is.", StateSchema)
        slug = parameter("path", "slug", "The last part of a problem's type.", type="string", enum=[*PROBLEM_TYPES])
        text = answer(200, "The metrics.", _TEXT, media_type="text/plain")
        page = answer(200, "The explanation.", _TEXT, media_type="text/html") | problems(404)
        index = answer(200, "Links.", IndexSchema)
        unlimited = problems(limited=False)
        openapi.operation(routes, "/", "GET", self.get_index, security=PUBLIC, responses=index | problems())
        openapi.operation(routes, "/healthz", "GET", self.get_health, security=PUBLIC, responses=state | unlimited)
        openapi.operation(
            routes,
            "/readyz",
            "GET",
            self.get_readiness,
            security=PUBLIC,
            responses=state | problems(503, limited=False),
        )
        openapi.operation(routes, "/metrics", "GET", self.get_metrics, security=PUBLIC, responses=text | unlimited)
        openapi.operation(
            routes,
            "/problems/<slug>",
            "GET",
            self.get_problem_type,
            security=PUBLIC,
            parameters=[slug],
            responses=page,
        )
        return routes

    def get_index(self) -> Response:
        """Where to find the documentation"""
        return json_answer(_INDEX)

    def get_health(self) -> Response:
        """Whether the process is alive"""
        return json_answer({"status": "ok"})

    def get_readiness(self) -> Response:
        """Whether the service can work

        Asks the database; looks whether schema and views are this release's and at the log's end, whether followers and
        signed checkpoints keep up with it, and whether this process still follows.
        """
        try:
            reason = " ".join(symptom.what for symptom in self._health.symptoms()) or None
        except StorageUnavailable as error:
            # What a driver said may name hosts and accounts, and anybody may ask this.
            _log.warning("not ready: %s (request %s)", error, current_request_id())
            reason = "The database can't be used now; the log says more under the request id."
        return json_answer({"status": "ready"}) if reason is None else problem("not-ready", reason)

    def get_metrics(self) -> Response:
        """Metrics for Prometheus"""
        return Response(self._metrics.scrape(), 200, {"Cache-Control": "no-store"}, content_type=metrics.MEDIA_TYPE)

    def get_problem_type(self, slug: str) -> Response:
        """What a type of problem means"""
        kind = PROBLEM_TYPES.get(slug)
        if kind is None:
            return problem("not-found", "There is no such problem type.")
        explanation = _code(r"<code>\1</code>", escape(kind.explanation))
        page = _PAGE.format(title=escape(kind.title), status=kind.status, slug=escape(slug), explanation=explanation)
        headers = {"Cache-Control": "public, max-age=3600"}
        return Response(page, 200, headers, content_type="text/html; charset=utf-8")
