"""What happens around every request, whatever comes of it: its id, the count and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from api import request_ids
from api.metrics import Metrics
from api.security_headers import NOTHING_ALLOWED, POLICY, SECURITY_HEADERS


class Envelope:
    """Wraps the application as WSGI middleware: hooks inside would cost every request several times as much."""

    def __init__(
        self, app: WSGIApplication, metrics: Metrics, new_request_id: Callable[[], str], timer: Callable[[], float]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._new_request_id = new_request_id
        self._timer = timer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serves one request."""
        started = self._timer()
        identity = request_ids.request_id(environ.get("HTTP_X_REQUEST_ID"), self._new_request_id)
        environ[request_ids.ENVIRON_KEY] = identity

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            headers.append((request_ids.HEADER, identity))
            headers.extend(SECURITY_HEADERS)
            if not any(name == POLICY for name, _ in headers):
                headers.append(NOTHING_ALLOWED)
            # The request object leaves itself there; without one, nothing was routed.
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            seconds = self._timer() - started
            self._metrics.observe(rule and rule.rule, environ["REQUEST_METHOD"], status[:3], seconds)
            return start_response(status, headers, *exc_info)

        return self._app(environ, start)
