"""What is told while a command is under way is below its span; nothing before and after it is."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ledger.actor import Actor, Cause, Role
from ledger.observer import Command, Ended, Nobody
from ledger.outcomes import Outcome
from ledger.statuses import Status
from scripts.tracing import Spans

MOVE = Command("change_status", Actor(1, Role.CUSTOMER), Cause(), 7)


def test_spans_of_a_command_and_of_what_is_told_around_it() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    spans = Spans(tracer, Nobody())
    with tracer.start_as_current_span("request"):
        spans.called("retrieve_intent", "answered", 0.1)
        tell_end = spans.begun(MOVE)
        spans.called("cancel_intent", "failed", 0.25)
        tell_appended = spans.appending(2)
        spans.committed(3, 5, 0.01)
        tell_appended("committed")
        spans.appending(1)("failed")
        tell_end(Ended(MOVE, 0.3, Outcome(7, 2, Status.CANCELLED, position=40), None))
        spans.called("refund", "answered", 0.1)
    assert not trace.get_current_span().get_span_context().is_valid
    finished = [span for span in exporter.get_finished_spans() if (span.attributes or {}).get("ledger.events") != 1]
    [lost] = [span for span in exporter.get_finished_spans() if span not in finished]
    assert (lost.name, dict(lost.attributes or {})) == ("append", {"ledger.events": 1, "ledger.outcome": "failed"})
    by_name = {span.name: span for span in finished}

    def parent(name: str) -> str | None:
        above = by_name[name].parent
        return next((span.name for span in by_name.values() if above and id_of(span) == above.span_id), None)

    assert {name: parent(name) for name in by_name} == {
        "request": None,
        "stripe retrieve_intent": "request",
        "change_status": "request",
        "stripe cancel_intent": "change_status",
        "append": "change_status",
        "commit": "append",
        "stripe refund": "request",
    }
    call = by_name["stripe cancel_intent"]
    assert (call.end_time or 0) - (call.start_time or 0) == 250_000_000
    assert dict(by_name["append"].attributes or {}) == {"ledger.events": 2, "ledger.outcome": "committed"}
    assert dict(by_name["commit"].attributes or {}) == {"ledger.appends": 3, "ledger.events": 5}


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id
