"""Views and the log: the rows that events change, for the writes that go with them and for replays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from eventsourcing.persistence import IntegrityError

from ledger.events import EVENT_TYPES, upcast
from ledger.storage.log import Event
from ledger.storage.tables import Row, TableWrites
from projections import idempotency, leads, orders, payments
from projections.view import Change, EventFacts, Insert, Key, Update, View

VIEWS: tuple[View, ...] = (orders.VIEW, idempotency.VIEW, payments.VIEW, leads.VIEW)
_EVENT_TYPES = {type.TOPIC: type for type in EVENT_TYPES}
_HANDLED = frozenset(type for view in VIEWS for type in view.handlers)


def inline_writes(events: Sequence[Event]) -> list[TableWrites]:
    """The rows of all views that the events change, by table, to be written in the transaction of the events.

    Raises IntegrityError when two of them make one row.
    """
    facts = [facts_of(event) for event in events if event.type in _HANDLED]
    changed = ((view, _Rows(view, facts)) for view in VIEWS)
    return [rows.writes(view) for view, rows in changed if rows.inserted or rows.updated]


def fold(view: View, events: Iterable[Event]) -> dict[Key, Row]:
    """The view's rows by key after all of these events, made in memory.

    Raises IntegrityError where the database would have refused, and ValueError when a row is changed that is not there.
    """
    rows = _Rows(view, (facts_of(event) for event in events if event.type in view.handlers))
    if rows.updated:
        raise ValueError(f"rows are changed that were never made, such as {next(iter(rows.updated))}")
    return rows.inserted


def facts_of(event: Event) -> EventFacts:
    """The event with its body decoded, in its type's present shape."""
    body = upcast(_EVENT_TYPES[event.type], json.loads(event.body))
    return EventFacts(event.stream, event.version, event.type, body)


class _Rows:
    """What a run of events leaves of a view: rows made, and columns changed of rows made before."""

    def __init__(self, view: View, events: Iterable[EventFacts]) -> None:
        self.inserted: dict[Key, Row] = {}
        self.updated: dict[Key, dict[str, object]] = {}
        self._columns = tuple(view.table.columns)
        self._key_size = view.table.key_size
        for event in events:
            handler = view.handlers.get(event.type)
            for change in handler(event) if handler else ():
                self._add(event, change)

    def writes(self, view: View) -> TableWrites:
        writes = TableWrites(view.table, list(self.inserted.values()))
        for key, values in self.updated.items():
            writes.updates.setdefault(tuple(values), []).append((*values.values(), *key))
        return writes

    def _add(self, event: EventFacts, change: Change) -> None:
        if isinstance(change, Insert):
            key = change.row[: self._key_size]
            if key in self.inserted:
                raise IntegrityError(f"{event.stream} version {event.version} makes row {key} a second time")
            self.inserted[key] = change.row
        elif change.key in self.inserted:
            self.inserted[change.key] = self._changed(self.inserted[change.key], change)
        else:
            self.updated.setdefault(change.key, {}).update(change.values)

    def _changed(self, row: Row, change: Update) -> Row:
        values = change.values
        return tuple(values.get(column, value) for column, value in zip(self._columns, row, strict=True))
