"""Views in the database: their schema, and the writes that go with the events."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ledger.events import EVENT_TYPES, upcast
from ledger.storage import Cursor
from ledger.storage.recorder import RecordedEvent
from projections import idempotency, leads, orders
from projections.view import Change, EventFacts, Insert, Key, Table, Update, View

VIEWS: tuple[View, ...] = (orders.VIEW, idempotency.VIEW, leads.VIEW)
_EVENT_TYPES = {type.TOPIC: type for type in EVENT_TYPES}
_HANDLED = frozenset(type for view in VIEWS for type in view.handlers)


class InlineViews:
    """Keeps the views in the transaction of the events that change them."""

    def apply(self, cursor: Cursor, events: Sequence[RecordedEvent]) -> None:
        """Writes what the events change; raises IntegrityError when a row exists already."""
        facts = [_facts(event) for event in events if event.type in _HANDLED]
        for view in VIEWS:
            handled = [view.handlers[fact.type](fact) for fact in facts if fact.type in view.handlers]
            write_changes(cursor, view.table, chain.from_iterable(handled))


def _facts(event: RecordedEvent) -> EventFacts:
    body = upcast(_EVENT_TYPES[event.type], json.loads(event.body))
    return EventFacts(event.position, event.stream, event.version, event.type, body)


def write_changes(cursor: Cursor, table: Table, changes: Iterable[Change]) -> None:
    """Applies changes in order: inserts first (a row is always inserted before it is updated), then updates."""
    inserts = []
    updates: defaultdict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for change in changes:
        if isinstance(change, Insert):
            inserts.append(change.row)
        else:
            updates[tuple(change.values)].append((*change.values.values(), *change.key))
    if inserts:
        places = ", ".join("?" * len(table.columns))
        cursor.executemany(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({places})", inserts)
    for columns, rows in updates.items():
        assignments = ", ".join(f"{column} = ?" for column in columns)
        condition = " AND ".join(f"{column} = ?" for column in list(table.columns)[: table.key_size])
        cursor.executemany(f"UPDATE {table.name} SET {assignments} WHERE {condition}", rows)


def fold(view: View, events: Iterable[RecordedEvent]) -> dict[Key, tuple[Any, ...]]:
    """The view's rows by key, made from events in memory.

    Raises ValueError where the database would have refused: a row inserted twice, or changed before it is there.
    """
    columns = list(view.table.columns)
    rows: dict[Key, tuple[Any, ...]] = {}
    for event in events:
        handler = view.handlers.get(event.type)
        for change in handler(_facts(event)) if handler else ():
            key = change.row[: view.table.key_size] if isinstance(change, Insert) else change.key
            if (key in rows) == isinstance(change, Insert):
                raise ValueError(f"{view.name}: position {event.position} does not fit row {key}")
            rows[key] = change.row if isinstance(change, Insert) else _updated(rows[key], columns, change)
    return rows


def _updated(row: tuple[Any, ...], columns: Sequence[str], change: Update) -> tuple[Any, ...]:
    values: Mapping[str, Any] = dict(zip(columns, row, strict=True)) | dict(change.values)
    return tuple(values[column] for column in columns)
