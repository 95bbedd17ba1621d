"""Prometheus metrics: what this process does, counted as it happens; how the ledger stands, looked up when asked."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as MEDIA_TYPE
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.values import MutexValue, ValueClass

from ledger.errors import StorageUnavailable
from ledger.observer import Command, TellAppended, TellEnd
from projections.health import Health
from projections.webhooks.endpoints import Endpoint

__all__ = ["MEDIA_TYPE", "Metrics", "WebhookOutcome"]

LABELS = ("route", "method", "status")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""The route of requests that no route matches: their paths are anybody's to invent, and would never end."""

_converter = re.compile(r"<(?:\w+:)?(\w+)>")
_log = logging.getLogger(__name__)


class WebhookOutcome(StrEnum):
    """What came of a webhook: something new, nothing new, nothing of ours, no signature that counts, or a refusal."""

    RECORDED = "recorded"
    KNOWN = "known"
    IGNORED = "ignored"
    FORGED = "forged"
    REFUSED = "refused"


class Metrics:
    """Counts what this process serves; a scrape answers for all processes that share a metrics directory."""

    def __init__(self, health: Health) -> None:
        self._registry = CollectorRegistry()
        self._standing = _Standing(health)
        self._requests = Counter("http_requests", "HTTP requests answered.", LABELS, registry=self._registry)
        self._durations = Histogram(
            "http_request_duration_seconds", "Time to answer.", LABELS, buckets=BUCKETS, registry=self._registry
        )
        self._webhooks = Counter(
            "payment_webhooks", "Webhooks of the payment gateway.", ("outcome",), registry=self._registry
        )
        for outcome in WebhookOutcome:
            self._webhooks.labels(outcome.value)  # so that each is there, at 0, before it first happens
        self._count_inside(self._registry)
        # Looking up a child by its labels costs more than counting with it.
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def observe(self, route: str | None, method: str, status: str, seconds: float) -> None:
        """Counts an answered request under its route, written as in the OpenAPI document."""
        key = (route or UNMATCHED, method, status)
        children = self._children.get(key)
        if children is None:
            children = self._new_children(*key)
            if method in METHODS:
                self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def _count_inside(self, registry: CollectorRegistry) -> None:
        self._commands = Histogram(
            "ledger_command_duration_seconds",
            "Time of a command, with what it waits for.",
            ("command",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._appends = Counter("ledger_appends", "Appends that were committed.", registry=registry)
        self._events = Counter("ledger_events_appended", "Events that were appended.", registry=registry)
        self._batches = Histogram(
            "ledger_append_batch_size", "Appends of a transaction.", buckets=BATCHES, registry=registry
        )
        self._commits = Histogram(
            "ledger_append_duration_seconds", "Time of a transaction that appends.", buckets=BUCKETS, registry=registry
        )
        self._waiting = Gauge(
            "ledger_appends_waiting",
            "Appends that are not committed yet.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._conflicts = Counter("ledger_append_conflicts", "Commands that decided again.", registry=registry)
        self._replays = Counter("ledger_idempotent_replays", "Commands answered again.", registry=registry)
        self._calls = Counter(
            "payment_gateway_calls", "Calls to the payment gateway.", ("operation", "outcome"), registry=registry
        )
        self._call_times = Histogram(
            "payment_gateway_call_duration_seconds",
            "Time of a call to the payment gateway, with its retries.",
            ("operation",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._turned_away = Gauge(
            "payment_gateway_breaker_open",
            "Worker processes that leave the payment gateway alone, as it has failed.",
            multiprocess_mode="livesum",
            registry=registry,
        )

    def begun(self, command: Command) -> TellEnd:
        """See ``ledger.observer``; likewise below."""
        times = self._commands.labels(command.name)
        return lambda ended: times.observe(ended.seconds)

    def appending(self, events: int) -> TellAppended:  # noqa: ARG002
        self._waiting.inc()
        return lambda _: self._waiting.dec()

    def committed(self, appends: int, events: int, seconds: float) -> None:
        self._appends.inc(appends)
        self._events.inc(events)
        self._batches.observe(appends)
        self._commits.observe(seconds)

    def conflicted(self) -> None:
        self._conflicts.inc()

    def replayed(self) -> None:
        self._replays.inc()

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        self._calls.labels(operation, outcome).inc()
        self._call_times.labels(operation).observe(seconds)

    def turned(self, *, away: bool) -> None:
        self._turned_away.set(away)

    def count_webhook(self, outcome: WebhookOutcome) -> None:
        """Counts a webhook that was answered."""
        self._webhooks.labels(outcome.value).inc()

    def scrape(self) -> bytes:
        """The metrics in Prometheus's text format."""
        registry = CollectorRegistry()
        # The library has decided from its own environment variable whether processes share their values in files.
        if ValueClass is MutexValue:
            registry.register(self._registry)
        else:
            _AllProcesses(registry)  # type: ignore[no-untyped-call]  # annotated nowhere in the library
        registry.register(self._standing)
        return generate_latest(registry)

    def _new_children(self, route: str, method: str, status: str) -> tuple[Counter, Histogram]:
        labels = (_converter.sub(r"{\1}", route), method if method in METHODS else "other", status)
        return self._requests.labels(*labels), self._durations.labels(*labels)


class _AllProcesses(MultiProcessCollector):
    """What the processes have counted, each in its files.

    A file is empty for an instant when it is made, and for good if its process is killed in that instant: the library
    fails to read such a one.
    """

    def collect(self) -> Iterable[Metric]:
        """The sums, as the library makes them."""
        files = [str(path) for path in Path(self._path).glob("*.db") if _holds_values(path)]
        return self.merge(files)  # type: ignore[no-any-return,no-untyped-call]  # annotated nowhere in the library


def _holds_values(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # gone with its process
        return False


class _Standing(Collector):
    """How the ledger stands, looked up when scraped."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told; of what can't be read nothing."""
        yield from self._positions()
        try:
            findings = len(self._health.view_findings())
        except StorageUnavailable:
            _log.warning("whether the views are at the log's end can't be read for a scrape", exc_info=True)
            return
        told = "What the newest rows of the views differ in from the log; 0 when they are at its end."
        yield GaugeMetricFamily("ledger_view_findings", told, findings)

    def _positions(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("ledger_storage_up", "Whether the database answers, and with what can be read.")
        try:
            standing = self._health.standing()
        except StorageUnavailable:
            _log.warning("how the ledger stands can't be read for a scrape", exc_info=True)
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        sizes, age = standing.sizes, standing.checkpoint_age
        yield GaugeMetricFamily("ledger_head_position", "Position of the log's last event.", sizes.head)
        yield GaugeMetricFamily("ledger_log_tree_size", "Events in the transparency log's tree.", sizes.tree)
        yield GaugeMetricFamily(
            "ledger_log_checkpoint_size", "Events that the latest checkpoint covers.", sizes.checkpoint
        )
        if age is not None:
            told = "Time since the latest checkpoint was signed; one is signed when there are new events."
            yield GaugeMetricFamily("ledger_log_checkpoint_age_seconds", told, age.total_seconds())
        position = GaugeMetricFamily("ledger_follower_position", "How far a follower has come.", labels=("follower",))
        lag = GaugeMetricFamily(
            "ledger_follower_lag_seconds", "How long the first event that it lacks has waited.", labels=("follower",)
        )
        told = "Whether it has events that the log has not: this was cut off at its end, or changed there."
        astray = GaugeMetricFamily("ledger_follower_astray", told, labels=("follower",))
        for follower in standing.followers:
            astray.add_metric((follower.slug,), follower.astray)
            position.add_metric((follower.slug,), follower.position)
            lag.add_metric((follower.slug,), follower.behind.total_seconds())
        yield position
        yield lag
        yield astray
        rebuilt = GaugeMetricFamily(
            "ledger_rebuild_position", "How far the rebuild of a view has come, while there is one.", labels=("view",)
        )
        for view, done in standing.rebuilds.items():
            rebuilt.add_metric((view,), done)
        yield rebuilt
        yield from _deliveries(standing.endpoints)


def _deliveries(endpoints: Sequence[Endpoint]) -> Iterator[Metric]:
    label = ("endpoint",)
    delivered = CounterMetricFamily("ledger_webhooks_delivered", "Webhooks that have arrived.", labels=label)
    position = GaugeMetricFamily("ledger_webhook_position", "Up to where the log is queued.", labels=label)
    waiting = GaugeMetricFamily("ledger_webhooks_waiting", "Webhooks to be sent, or sent again.", labels=label)
    told = "Webhooks that have failed, and are sent again."
    failing = GaugeMetricFamily("ledger_webhooks_failing", told, labels=label)
    dead = GaugeMetricFamily("ledger_webhooks_dead", "Webhooks that were given up.", labels=label)
    disabled = GaugeMetricFamily(
        "ledger_webhook_endpoint_disabled", "Whether nothing is sent to the endpoint.", labels=label
    )
    for endpoint in endpoints:
        key = (endpoint.id,)
        delivered.add_metric(key, endpoint.delivered)
        position.add_metric(key, endpoint.position)
        waiting.add_metric(key, endpoint.waiting)
        failing.add_metric(key, endpoint.failing)
        dead.add_metric(key, endpoint.dead)
        disabled.add_metric(key, bool(endpoint.disabled))
    yield from (delivered, position, waiting, failing, dead, disabled)
