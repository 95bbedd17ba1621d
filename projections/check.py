"""Compares the live views with a fresh replay, and the log with its own rules, at one moment and beside the writers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventsourcing.persistence import IntegrityError

from ledger.storage import Cursor, Database
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from projections.store import VIEWS, fold
from projections.view import View


def differences(database: Database) -> list[str]:
    """What is wrong, a sentence each; empty when the log is sound and every view equals its replay."""
    with database.snapshot() as cursor:
        found = list(_log_faults(read_log(cursor)))
        for view in VIEWS:
            found.extend(_view_differences(cursor, view))
        found.extend(_orders_without_intent(cursor))
    return found


def _log_faults(events: Iterable[RecordedEvent]) -> Iterator[str]:
    versions: dict[str, int] = {}
    expected = 1
    for event in events:
        if event.position != expected:
            yield f"log: position {expected} is missing before {event.position}"
        expected = event.position + 1
        if event.version != versions.get(event.stream, 0) + 1:
            yield f"log: {event.stream} jumps to version {event.version} at position {event.position}"
        versions[event.stream] = event.version


def _orders_without_intent(cursor: Cursor) -> Iterator[str]:
    """Orders that can't be served, as what is kept beside the log is lost: it is in no replay."""
    query = (
        "SELECT orders.order_id FROM orders LEFT JOIN payment_intents USING (order_id) WHERE intent_id IS NULL"
        " ORDER BY orders.order_id"
    )
    for (order_id,) in cursor.stream(query):
        yield f"payment_intents: order {order_id} has none"


def _view_differences(cursor: Cursor, view: View) -> Iterator[str]:
    try:
        expected = fold(view, read_log(cursor))
    except (ValueError, KeyError, IntegrityError) as error:
        yield f"{view.name}: the log can't be replayed: {error}"
        return
    query = f"SELECT {', '.join(view.table.columns)} FROM {view.table.name}"
    for row in cursor.stream(query):
        key = row[: view.table.key_size]
        wanted = expected.pop(key, None)
        if wanted is None:
            yield f"{view.name}: row {key} is not in the replay"
        elif wanted != row:
            yield f"{view.name}: row {key} is {row}, the replay says {wanted}"
    yield from (f"{view.name}: row {key} of the replay is missing" for key in expected)
