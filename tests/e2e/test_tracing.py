"""Traces as a real collector gets them: OTLP over HTTP, protobuf."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.support.server import Server
from tests.support.shop import Shop
from tests.support.stripe_server import Fault, StripeServer

UNSET, ERROR = Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes spans, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def named(self, name: str, timeout: float = 60) -> Any:
        """The first span of this name, once it has come."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for span in list(self.spans):
                if span.name == name:
                    return span
            time.sleep(0.05)
        raise AssertionError(f"no {name} among {sorted({span.name for span in self.spans})}")


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in sent.resource_spans:
            self.server.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    thread = Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_its_command_and_its_append(collector: Collector, tmp_path: Path) -> None:
    server = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db", workers=1)
    server.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    server.start(LEDGER_OTEL_ENDPOINT=f"http://127.0.0.1:{collector.server_port}/v1/traces")
    with server.client(1) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "mine"}
        assert (
            client.post(f"{server.url}/orders/new?q=s3cret", json=["1"], headers=headers, timeout=30).status_code == 201
        )
        assert client.get(f"{server.url}/orders/1", timeout=30).status_code == 200
    request, command = collector.named("POST /orders/new"), collector.named("create_order")
    append, other = collector.named("append"), collector.named("GET /orders/<order_id:orderId>")
    server.stop()

    assert collector.services == {"order-ledger"}
    assert {span.trace_id.hex() for span in (request, command, append)} == {TRACE}
    assert request.parent_span_id.hex() == PARENT
    assert (command.parent_span_id, append.parent_span_id) == (request.span_id, command.span_id)
    assert attributes(command) == {"ledger.outcome": "recorded", "ledger.order": 1, "ledger.position": 1}
    assert other.trace_id.hex() != TRACE
    assert request.start_time_unix_nano <= command.start_time_unix_nano <= append.start_time_unix_nano
    assert append.end_time_unix_nano <= command.end_time_unix_nano <= request.end_time_unix_nano
    facts = attributes(request)
    assert (facts["http.request.method"], facts["http.response.status_code"]) == ("POST", 201)
    assert (facts["http.route"], facts["ledger.request_id"]) == ("/orders/new", "mine")
    assert "s3cret" not in json.dumps([attributes(span) for span in collector.spans])


def test_a_trace_that_the_server_begins_is_kept_with_its_events_too(collector: Collector, tmp_path: Path) -> None:
    with StripeServer() as stripe:
        shop = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", stripe, workers=1)
        shop.server.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
        shop.server.start(LEDGER_OTEL_ENDPOINT=f"http://127.0.0.1:{collector.server_port}/v1/traces")
        shop.placed()
        stripe.inject(Fault.answer(500, "before"), times=20)
        assert shop.move(1, "cancelled").status_code == 503
        [event] = shop.get("/orders/1/history").json()
        placing, call = collector.named("create_order"), collector.named("stripe create_intent")
        moving, failed = collector.named("change_status"), collector.named("stripe cancel_intent")
        shop.server.stop()

    assert event["cause"]["traceId"] == placing.trace_id.hex()
    assert (call.parent_span_id, failed.parent_span_id) == (placing.span_id, moving.span_id)
    assert attributes(moving) == {"ledger.outcome": "payments-unavailable", "ledger.order": 1}
    assert (placing.status.code, call.status.code) == (UNSET, UNSET)
    assert (moving.status.code, failed.status.code) == (ERROR, ERROR)


def test_a_collector_that_is_not_there_stops_nobody(tmp_path: Path) -> None:
    server = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db", workers=1)
    server.start(LEDGER_OTEL_ENDPOINT="http://127.0.0.1:9/v1/traces")
    with server.client(1) as client:
        assert client.post(f"{server.url}/orders/new", json=["1"], timeout=30).status_code == 201
    server.stop()
