"""What a run of events leaves of a view: rows made, and columns changed of rows made before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventsourcing.persistence import IntegrityError

from ledger.storage.log import Event
from ledger.storage.tables import Row, TableWrites
from projections.bodies import facts_of
from projections.view import EventFacts, Insert, Key, View


class Rows:
    """The rows of one view, folded in memory."""

    def __init__(self, view: View) -> None:
        self.inserted: dict[Key, list[Any]] = {}
        self.updated: dict[Key, dict[str, Any]] = {}
        self._view = view
        self._key_size = view.table.key_size
        self._places = {column: place for place, column in enumerate(view.table.columns)}

    def add(self, events: Iterable[EventFacts]) -> None:
        """Adds what events change, in their order; all are of types that the view handles.

        Raises IntegrityError when one makes a row that an earlier one has made already.
        """
        handlers, key_size, inserted, places = self._view.handlers, self._key_size, self.inserted, self._places
        for event in events:
            for change in handlers[event.type](event):
                if isinstance(change, Insert):
                    key = change.row[:key_size]
                    if key in inserted:
                        raise IntegrityError(f"{event.stream} version {event.version} makes row {key} a second time")
                    inserted[key] = list(change.row)
                elif (row := inserted.get(change.key)) is not None:
                    for column, value in change.values.items():
                        row[places[column]] = value
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
    rows.add(facts_of(event) for event in events if event.type in view.handlers)
    if rows.updated:
        raise ValueError(f"rows are changed that were never made, such as {next(iter(rows.updated))}")
    return {key: tuple(row) for key, row in rows.inserted.items()}
