"""What a run of events leaves of a view: rows made, and columns changed of rows made before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventsourcing.persistence import IntegrityError

from ledger.storage.log import Event
from ledger.storage.tables import Row, TableWrites
from projections.bodies import DECODERS
from projections.view import EventFacts, Insert, Key, View


class Rows:
    """The rows of one view, folded in memory."""

    def __init__(self, view: View) -> None:
        self.inserted: dict[Key, list[Any]] = {}
        self.updated: dict[Key, dict[str, Any]] = {}
        self._view = view
        self._handlers = view.handlers
        self._key_size = view.table.key_size
        self._places = {column: place for place, column in enumerate(view.table.columns)}

    def add(self, event: EventFacts) -> None:
        """Adds what an event changes; it is of a type that the view handles.

        Raises IntegrityError when it makes a row that an earlier one has made already.
        """
        inserted = self.inserted
        for change in self._handlers[event.type](event):
            if isinstance(change, Insert):
                key = change.row[: self._key_size]
                if key in inserted:
                    raise IntegrityError(f"{event.stream} version {event.version} makes row {key} a second time")
                inserted[key] = list(change.row)
            elif (row := inserted.get(change.key)) is not None:
                for column, value in change.values.items():
                    row[self._places[column]] = value
            else:
                self.updated.setdefault(change.key, {}).update(change.values)

    def updates(self) -> dict[tuple[str, ...], list[Row]]:
        """The changes of rows made before, by columns: the new values, followed by the key."""
        updates: dict[tuple[str, ...], list[Row]] = {}
        for key, values in self.updated.items():
            updates.setdefault(tuple(values), []).append((*values.values(), *key))
        return updates

    def writes(self) -> TableWrites:
        """All of it, to be written to the view's table."""
        return TableWrites(self._view.table, [tuple(row) for row in self.inserted.values()], self.updates())


def fold(view: View, events: Iterable[Event]) -> dict[Key, Row]:
    """The view's rows by key after all of these events, made in memory.

    Raises IntegrityError where the database would have refused, and ValueError when a row is changed that is not there.
    """
    rows = Rows(view)
    for event in events:
        if event.type in view.handlers:
            rows.add(facts_of(event))
    if rows.updated:
        raise ValueError(f"rows are changed that were never made, such as {next(iter(rows.updated))}")
    return {key: tuple(row) for key, row in rows.inserted.items()}


def facts_of(event: Event) -> EventFacts:
    """The event with its body decoded, in its type's present shape."""
    return EventFacts(event.stream, event.version, event.type, DECODERS[event.type](event.body))
