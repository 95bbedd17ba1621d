"""The order view made by the eventsourcing library: its ProjectionRunner, and its own parts with 500 events at once.

Both run on its own recorders with the ledger's events, and write the very rows of the ledger's view. One event is one
transaction for the ProjectionRunner, whatever a projection does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, cast

from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, StoredEvent, Tracking, TrackingRecorder, Transcoder
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment

from benchmarks.databases import postgres_parts
from benchmarks.rebuilds.history import log
from ledger.events import Event, OrderCreated, StatusChanged
from ledger.order import order_id_of
from ledger.storage.bodies import JSONBodies
from ledger.storage.schema import for_dialect
from projections.orders import ORDERS

RUNNER, LOOP = "library's ProjectionRunner", "library, 500 at once"
_AT_ONCE = 500
_PATIENCE = 600
_INSERT = ORDERS.insert_sql()
_UPDATE = ORDERS.update_sql(("status", "version"))

Statement = tuple[str, tuple[object, ...]]


class Orders(Application[str]):
    """The library's application on the ledger's events."""

    def construct_transcoder(self) -> Transcoder:
        """Plain JSON bodies, as the ledger stores them."""
        return JSONBodies()


class OrdersView(Protocol):
    """What the projection writes to."""

    def apply(self, changes: Sequence[tuple[Statement, Tracking]]) -> None:
        """Runs the statements, and notes how far they go, in one transaction."""


class PostgresOrders(PostgresTrackingRecorder):
    """The view in PostgreSQL."""

    def apply(self, changes: Sequence[tuple[Statement, Tracking]]) -> None:
        """Runs the statements, and notes how far they go, in one transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            for sql, rows in _grouped(changes).items():
                cursor.executemany(sql.replace("?", "%s").encode(), rows)
            self._insert_tracking(cursor, changes[-1][1])

    def create_table(self) -> None:
        """Makes the view beside the library's own table."""
        super().create_table()
        with self.datastore.transaction(commit=True) as cursor:
            for statement in ORDERS.ddl():
                cursor.execute(for_dialect(statement, "postgres").encode())


class SqliteOrders(SQLiteTrackingRecorder):
    """The view in SQLite."""

    def apply(self, changes: Sequence[tuple[Statement, Tracking]]) -> None:
        """Runs the statements, and notes how far they go, in one transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            for sql, rows in _grouped(changes).items():
                cursor.executemany(sql, rows)
            self._insert_tracking(cursor, changes[-1][1])

    def create_table(self) -> None:
        """Makes the view beside the library's own table."""
        super().create_table()
        with self.datastore.transaction(commit=True) as cursor:
            for statement in ORDERS.ddl():
                cursor.execute(for_dialect(statement, "sqlite"))


class OrdersProjection(Projection[Any]):
    """The projection as the library wants one."""

    name = "orders"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Writes what one event changes."""
        self.view.apply([(_statement(domain_event), tracking)])


def runner(url: str, events: int) -> float:
    """Fills a log of so many events, runs the ProjectionRunner over it, and returns the events a second it made."""
    settings, view_class = _settings(url)
    _fill(settings, events)
    started = perf_counter()
    with ProjectionRunner(
        application_class=Orders, projection_class=OrdersProjection, view_class=view_class, env=settings
    ) as running:
        running.wait(events, timeout=_PATIENCE)
        seconds = perf_counter() - started
        _assert_rows(running.view, events)
    return events / seconds


def loop(url: str, events: int) -> float:
    """The same with the library's recorders, mapper and tracking in a loop that takes 500 events at once."""
    settings, view_class = _settings(url)
    _fill(settings, events)
    application = Orders(settings)
    factory = InfrastructureFactory[TrackingRecorder].construct(Environment("orders", settings))
    view: Any = factory.tracking_recorder(view_class)
    started, done = perf_counter(), 0
    while page := application.recorder.select_notifications(done + 1, _AT_ONCE):
        changes = [
            (_statement(cast("Event", application.mapper.to_domain_event(each))), Tracking(application.name, each.id))
            for each in page
        ]
        view.apply(changes)
        done = page[-1].id
    seconds = perf_counter() - started
    _assert_rows(view, events)
    factory.close()
    application.close()
    return events / seconds


def _grouped(changes: Sequence[tuple[Statement, Tracking]]) -> dict[str, list[tuple[object, ...]]]:
    """By statement, inserts first: a row is changed after it was made, and the last change wins."""
    grouped: dict[str, list[tuple[object, ...]]] = {_INSERT: [], _UPDATE: []}
    for (sql, values), _ in changes:
        grouped[sql].append(values)
    return {sql: rows for sql, rows in grouped.items() if rows}


def _statement(event: Event) -> Statement:
    if isinstance(event, OrderCreated):
        row = (event.order_id, event.user_id, "pending", event.originator_version, _document(event))
        return _INSERT, row
    assert isinstance(event, StatusChanged)
    return _UPDATE, (event.status, event.originator_version, order_id_of(event.originator_id))


def _document(event: OrderCreated) -> str:
    names = {"product_id": "id", "name": "name", "quantity": "quantity", "price_in_cents": "priceInCents"}
    document = {
        "id": event.order_id,
        "userId": event.user_id,
        "date": event.timestamp,
        "products": [{names[name]: value for name, value in line.items()} for line in event.lines],
        "amountInCents": event.amount_in_cents,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).removesuffix("}")


def _settings(url: str) -> tuple[dict[str, str], type[Any]]:
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        settings = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
        return {"ORIGINATOR_ID_TYPE": "text", **settings}, SqliteOrders
    parts = postgres_parts(url)
    settings = {f"POSTGRES_{name.upper()}": parts[name] for name in ("dbname", "host", "port", "user")}
    settings |= {"PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_PASSWORD": parts["password"] or "none"}
    return {"ORIGINATOR_ID_TYPE": "text", **settings}, PostgresOrders


def _fill(settings: dict[str, str], events: int) -> None:
    application = Orders(settings)
    flat = (event for batch in log(events) for event in batch)
    while batch := list(islice(flat, min(1000, events - (application.recorder.max_notification_id() or 0)))):
        application.recorder.insert_events(
            [StoredEvent(event.stream, event.version, event.type, event.body.encode()) for event in batch]
        )
    application.close()


def _assert_rows(view: Any, events: int) -> None:
    with view.datastore.transaction(commit=False) as cursor:
        cursor.execute("SELECT sum(version) AS events FROM orders")
        (found,) = (dict(row).values() for row in cursor.fetchall())
    assert list(found) == [events], f"the library's view tells of {list(found)} events of {events}"
