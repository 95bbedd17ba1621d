"""Prometheus metrics: requests by route, webhooks by outcome, and the position of the log's head."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST as MEDIA_TYPE
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.values import MutexValue, ValueClass

from ledger.errors import StorageUnavailable
from projections.health import Health

__all__ = ["MEDIA_TYPE", "Metrics", "WebhookOutcome"]

LABELS = ("route", "method", "status")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
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
        self._head = _Head(health)
        self._requests = Counter("http_requests", "HTTP requests answered.", LABELS, registry=self._registry)
        self._durations = Histogram(
            "http_request_duration_seconds", "Time to answer.", LABELS, buckets=BUCKETS, registry=self._registry
        )
        self._webhooks = Counter(
            "payment_webhooks", "Webhooks of the payment gateway.", ("outcome",), registry=self._registry
        )
        for outcome in WebhookOutcome:
            self._webhooks.labels(outcome.value)  # so that each is there, at 0, before it first happens
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
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # annotated nowhere in the library
        registry.register(self._head)
        return generate_latest(registry)

    def _new_children(self, route: str, method: str, status: str) -> tuple[Counter, Histogram]:
        labels = (_converter.sub(r"{\1}", route), method if method in METHODS else "other", status)
        return self._requests.labels(*labels), self._durations.labels(*labels)


class _Head(Collector):
    """The head of the log, looked up when scraped."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("ledger_storage_up", "Whether the database answers.")
        position = GaugeMetricFamily("ledger_head_position", "Position of the log's last event.")
        tree = GaugeMetricFamily("ledger_log_tree_size", "Events in the transparency log's tree.")
        checkpoint = GaugeMetricFamily("ledger_log_checkpoint_size", "Events that the latest checkpoint covers.")
        try:
            sizes = self._health.log_sizes()
            position.add_metric((), sizes.head)
            tree.add_metric((), sizes.tree)
            checkpoint.add_metric((), sizes.checkpoint)
            up.add_metric((), 1)
        except StorageUnavailable:
            _log.warning("the head of the log can't be read for a scrape", exc_info=True)
            up.add_metric((), 0)
        yield up
        yield position
        yield tree
        yield checkpoint
