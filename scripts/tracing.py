"""Traces for OpenTelemetry (the ``otel`` extra): a span for each request, command, append and call to Stripe.

The ledger tells an observer when a command begins and ends (``ledger.observer``), and of appends and calls when they
have happened, in the thread of the command that they are a part of: their spans are then made with the times that they
had. So nothing inside the ledger knows of spans.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Setter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from api.request_ids import ENVIRON_KEY
from ledger.observer import Command, Ended, Observed, Observer, Relay, TellAppended, TellEnd

_NANOSECONDS = 1e9
_FAULT_OF_OURS = "5"
_W3C = TraceContextTextMapPropagator()


class _Headers(Setter[WSGIEnvironment]):
    """Writes headers into the environment of a request."""

    def set(self, carrier: WSGIEnvironment, key: str, value: str) -> None:
        carrier[f"HTTP_{key.upper()}"] = value


_AS_HEADER = _Headers()


class Tracing:
    """Sends the spans of one process to an OTLP endpoint over HTTP, in batches and from a thread of its own."""

    def __init__(self, endpoint: str, version: str) -> None:
        resource = Resource.create({"service.name": "order-ledger", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("order-ledger", version)

    def watch(self, observed: Observed) -> None:
        """Makes spans of what is told from now on, and lets whoever was told before be told as well."""
        observed.by = Spans(self._tracer, observed.by)

    def around(self, app: WSGIApplication) -> WSGIApplication:
        """The application with a span around each request, in the trace that the client says."""
        tracer = self._tracer

        def traced(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            sent = {name: environ[f"HTTP_{name.upper()}"] for name in _W3C.fields if f"HTTP_{name.upper()}" in environ}
            method = environ["REQUEST_METHOD"]
            span = tracer.start_span(method, _W3C.extract(sent), SpanKind.SERVER)
            inside = trace.set_span_in_context(span)
            # Events and log lines have the id of the trace, whoever has begun it.
            _W3C.inject(environ, inside, _AS_HEADER)

            def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
                rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
                if rule is not None:
                    span.update_name(f"{method} {rule.rule}")
                    span.set_attribute("http.route", rule.rule)
                span.set_attribute("http.response.status_code", int(status[:3]))
                if status.startswith(_FAULT_OF_OURS):
                    span.set_status(Status(StatusCode.ERROR))
                return start_response(status, headers, *exc_info)

            token = context.attach(inside)
            try:
                return app(environ, start)
            finally:
                context.detach(token)
                # The path, but not the query, which is for nobody else's eyes; the id was drawn inside.
                span.set_attributes({"http.request.method": method, "url.path": environ.get("PATH_INFO", "")})
                span.set_attribute("ledger.request_id", str(environ.get(ENVIRON_KEY, "")))
                span.end()

        return traced

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


class Spans(Relay):
    """An Observer that makes spans, and tells the next one."""

    def __init__(self, tracer: Tracer, then: Observer, now: Callable[[], int] = time.time_ns) -> None:
        super().__init__(then)
        self._tracer = tracer
        self._now = now

    def begun(self, command: Command) -> TellEnd:
        """See Observer; likewise below. The command's span is the present one, so what is told next is below it."""
        span = self._tracer.start_span(command.name)
        token = context.attach(trace.set_span_in_context(span))
        tell_end = super().begun(command)

        def end(ended: Ended) -> None:
            context.detach(token)
            position = None if ended.result is None else ended.result.position
            span.set_attribute("ledger.outcome", ended.outcome)
            for name, value in (("ledger.order", ended.order_id), ("ledger.position", position)):
                if value is not None:
                    span.set_attribute(name, value)
            if ended.failed:
                span.set_status(Status(StatusCode.ERROR))
            span.end()
            tell_end(ended)

        return end

    def appending(self, events: int) -> TellAppended:
        span = self._tracer.start_span("append", attributes={"ledger.events": events})
        token = context.attach(trace.set_span_in_context(span))
        tell = super().appending(events)

        def end(outcome: str) -> None:
            context.detach(token)
            span.set_attribute("ledger.outcome", outcome)
            if outcome == "failed":
                span.set_status(Status(StatusCode.ERROR))
            span.end()
            tell(outcome)

        return end

    def committed(self, appends: int, events: int, seconds: float) -> None:
        self._span("commit", seconds, {"ledger.appends": appends, "ledger.events": events})
        super().committed(appends, events, seconds)

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        self._span(f"stripe {operation}", seconds, {"ledger.outcome": outcome}, SpanKind.CLIENT, outcome == "failed")
        super().called(operation, outcome, seconds)

    def _span(
        self,
        name: str,
        seconds: float,
        attributes: Mapping[str, str | int],
        kind: SpanKind = SpanKind.INTERNAL,
        failed: bool = False,
    ) -> None:
        ended = self._now()
        began = ended - round(seconds * _NANOSECONDS)
        span = self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=began)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)
