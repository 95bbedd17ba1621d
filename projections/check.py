"""Compares the live views with a fresh replay, and the log with its own rules, at one moment and beside the writers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from eventsourcing.persistence import IntegrityError

from ledger.storage import Cursor, Database
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from projections.fold import fold
from projections.live import LiveViews
from projections.store import VIEWS
from projections.view import View

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IntegrityError)
"""How bodies that are not what their type says show themselves."""


def differences(database: Database, known: Sequence[View] = VIEWS) -> list[str]:
    """What is wrong, a sentence each; empty when the log is sound and every view equals its replay."""
    with LiveViews(database, known).snapshot() as (cursor, live):
        found = list(_log_faults(read_log(cursor)))
        for view in live.views:
            found.extend(_view_differences(cursor, view))
        found.extend(_intent_differences(cursor))
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


def _intent_differences(cursor: Cursor) -> Iterator[str]:
    """What is kept beside the log for each order, against what the log says of it. The client secret is in no event."""
    try:
        expected = dict(_intents(read_log(cursor)))
    except _UNREADABLE as error:
        yield f"payment_intents: the log can't be read: {error!r}"
        return
    for order_id, *kept in cursor.stream("SELECT order_id, intent_id, amount, currency FROM payment_intents"):
        wanted = expected.pop(order_id, None)
        if wanted != tuple(kept):
            yield f"payment_intents: order {order_id} has {tuple(kept)}, the log says {wanted}"
    yield from (f"payment_intents: order {order_id} has none" for order_id in expected)


def _intents(events: Iterable[RecordedEvent]) -> Iterator[tuple[int, tuple[str, int, str]]]:
    for event in events:
        if event.type == "OrderCreated":
            body = json.loads(event.body)
            yield body["order_id"], (body["payment_intent_id"], body["amount_in_cents"], body["currency"])


def _view_differences(cursor: Cursor, view: View) -> Iterator[str]:
    try:
        expected = fold(view, read_log(cursor))
    except _UNREADABLE as error:
        yield f"{view.name}: the log can't be replayed: {error!r}"
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
