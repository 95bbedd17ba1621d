"""Events that a view can't take in: their bodies can't be decoded, or what they change can't be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eventsourcing.persistence import DataError, IntegrityError

from ledger.errors import LedgerError, told_whole
from ledger.events import UNREADABLE
from ledger.storage import Cursor
from ledger.storage.log import RecordedEvent
from ledger.storage.tables import Row, Table
from projections.bodies import facts_of
from projections.view import Change, Insert, Key, View

UNFOLDABLE = (*UNREADABLE, IntegrityError, DataError)
"""How an event shows that it is not what its type says, or not what the events before it say."""

_KEYS = 200
_BIGINT = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Poison:
    """An event that was not taken in, and why."""

    event: RecordedEvent
    error: str


SetAside = Callable[[Sequence[Poison]], None]
"""Keeps these events where a person will find them; once it returns, they are kept."""


class PoisonEvent(LedgerError):
    """The log holds an event that the view can't take in."""

    def __init__(self, view: View, poison: Poison) -> None:
        super().__init__(f"{view.name}: the event at {poison.event.place} can't be taken in: {poison.error}")


def sifted(cursor: Cursor, view: View, table: Table, events: Sequence[Row]) -> tuple[list[RecordedEvent], list[Poison]]:
    """The events that can be taken in one after the other, on top of what the table holds, and those that can't."""
    good: list[RecordedEvent] = []
    poison: list[Poison] = []
    found = [(event, _changes(view, event)) for event in (RecordedEvent(*row) for row in events)]
    keys = [_key(table, change) for _, changes in found if not isinstance(changes, str) for change in changes]
    there = _there(cursor, table, list(dict.fromkeys(keys)))
    for event, changes in found:
        error = changes if isinstance(changes, str) else _refusal(table, changes, there)
        if error is None:
            there.update(_key(table, change) for change in changes if isinstance(change, Insert))
            good.append(event)
        else:
            poison.append(Poison(event, error))
    return good, poison


def _changes(view: View, event: RecordedEvent) -> list[Change] | str:
    """What the event changes, or why that can't be told."""
    try:
        return list(view.handlers[event.type](facts_of(event)))
    except UNFOLDABLE as error:
        return told_whole(error)


def _refusal(table: Table, changes: Sequence[Change], there: set[Key]) -> str | None:
    """Why a table with these keys can't take the changes; ``None`` when it can."""
    for change in changes:
        key, new = _key(table, change), isinstance(change, Insert)
        if new == (key in there):
            return f"it makes row {key} a second time" if new else f"it changes row {key}, which was never made"
        values = dict(zip(table.columns, change.row, strict=True)) if isinstance(change, Insert) else change.values
        for column, value in values.items():
            if not _fits(table.columns[column], value):
                return f"{column} can't be {value!r:.100}"
    return None


def _key(table: Table, change: Change) -> Key:
    return change.row[: table.key_size] if isinstance(change, Insert) else change.key


def _fits(type: str, value: object) -> bool:
    if type == "bigint":
        return isinstance(value, int) and value in _BIGINT
    return isinstance(value, str) and "\0" not in value  # which PostgreSQL has no place for


def _there(cursor: Cursor, table: Table, keys: Sequence[Key]) -> set[Key]:
    """Those of the keys that have a row in the table."""
    found: set[Key] = set()
    names, one = ", ".join(table.key), f"({', '.join('?' * table.key_size)})"
    for start in range(0, len(keys), _KEYS):
        some = [key for key in keys[start : start + _KEYS] if _findable(table, key)]
        if some:
            query = f"SELECT {names} FROM {table.name} WHERE ({names}) IN (VALUES {', '.join([one] * len(some))})"
            found.update(cursor.execute(query, [value for key in some for value in key]))
    return found


def _findable(table: Table, key: Key) -> bool:
    return all(_fits(table.columns[column], value) for column, value in zip(table.key, key, strict=True))
