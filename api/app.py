"""The application factory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from flask import Flask, Response, request
from werkzeug.routing import BaseConverter, ValidationError

from api import openapi
from api.answers import empty_answer
from api.audit import AuditRoutes
from api.auth import TokenVerifier
from api.callers import Callers
from api.console.routes import ConsoleRoutes
from api.docs import DocsRoutes
from api.endpoints import EndpointRoutes
from api.envelope import Envelope
from api.event_stream import Places
from api.history import HistoryRoutes
from api.leads import LeadRoutes
from api.limits import UNLIMITED, LimitPolicy, enforce_limits
from api.metrics import Metrics
from api.orders import OrderRoutes
from api.payments import PaymentRoutes
from api.probes import ServiceRoutes
from api.problems import allow, handle_errors
from api.request_ids import current_request_id, fresh_request_id
from api.services import Services
from api.strict_json import MAX_BYTES, MAX_INTEGER
from api.transparency import TransparencyRoutes
from api.webhooks import WebhookRoutes

STREAMS = 4


class LedgerApp(Flask):
    """Flask without redirects, static files or HTML of its own."""

    def __init__(self) -> None:
        super().__init__(__name__, static_folder=None, template_folder=None)
        self.url_map.converters["order_id"] = OrderId
        # `//orders` would be answered by a redirect, which is an HTML page and loses bodies.
        self.url_map.merge_slashes = False
        # One more than allowed, as the library's limit also refuses a stream that ends exactly there.
        self.config["MAX_CONTENT_LENGTH"] = MAX_BYTES + 1

    def make_default_options_response(self) -> Response:
        """The methods of the path, and nothing else."""
        adapter = self.create_url_adapter(request)
        methods: Iterable[str] = adapter.allowed_methods() if adapter is not None else ()
        return empty_answer({"Allow": allow(methods)})

    def log_exception(self, exc_info: Any) -> None:
        """Logs an error that nobody expected, under the request id that its answer carries."""
        # Written as a literal, so that a path can't start a line of its own.
        where = f"{request.method} {request.path}"
        self.logger.error("request %s failed: %r", current_request_id(), where, exc_info=exc_info)


class OrderId(BaseConverter):
    """An order's id as it is written in paths: decimal, no leading zeros, at most 2^53 - 1."""

    regex = "[1-9][0-9]{0,15}"

    def to_python(self, value: str) -> int:
        """The id."""
        if int(value) > MAX_INTEGER:
            raise ValidationError
        return int(value)


def create_app(
    services: Services,
    tokens: TokenVerifier,
    *,
    streams: int = STREAMS,
    stopping: Callable[[], bool] = lambda: False,
    public_log: bool = False,
    limits: LimitPolicy = UNLIMITED,
    secure_cookies: bool = False,
    new_request_id: Callable[[], str] = fresh_request_id,
    timer: Callable[[], float] = perf_counter,
) -> Flask:
    """The WSGI application. It holds no state of its own but metrics and verified tokens.

    At most ``streams`` clients at a time follow the log: each takes up a thread, until the process is ``stopping``.
    ``public_log``: anybody may read the transparency log. ``limits``: how often somebody may ask.
    ``secure_cookies``: those of the console are for https alone.
    """
    app = LedgerApp()
    metrics = Metrics(services.health)
    services.observed.by = metrics
    callers = Callers(tokens)
    places = Places(streams, stopping)
    docs = DocsRoutes()
    api = openapi.make_api(app)
    for routes in (
        OrderRoutes(services, callers),
        HistoryRoutes(services, callers),
        AuditRoutes(services, callers, places),
        TransparencyRoutes(services, callers, public=public_log),
        PaymentRoutes(services, callers),
        WebhookRoutes(services, metrics),
        EndpointRoutes(services, callers),
        LeadRoutes(services, callers),
        ServiceRoutes(services, metrics),
        docs,
    ):
        api.register_blueprint(routes.blueprint())
    app.add_url_rule("/docs/assets/<name>", view_func=docs.get_asset)
    console = ConsoleRoutes(services, tokens, places, secure=secure_cookies)
    app.register_blueprint(console.blueprint())
    docs.publish(openapi.render(api))
    handle_errors(app, console.refuse)
    enforce_limits(app, limits, lambda: callers.known_user() or console.known_user(), console.refuse)
    app.wsgi_app = Envelope(app.wsgi_app, metrics, new_request_id, timer)  # type: ignore[method-assign]  # as documented
    return app
