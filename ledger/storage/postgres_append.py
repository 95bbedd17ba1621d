"""The append on PostgreSQL: one statement, one round trip, whatever is written with the events.

``ledger_head`` (see schema.py) takes the writers' lock, makes sure that the views in force are those that the rows were
made for, and then reads the head of the log. It is a volatile function,
so that read has a snapshot of its own, taken when the lock is held; the statement's own snapshot is older and would
miss what was committed while it waited. The rows that the statement updates were there before it began, as a command
has read the events that made them.

Every part reads from ``head``, so that no row is locked before the writers' lock is held: the order in which the parts
of such a statement run is not defined.

Each column travels as one array, and a row that is the only one of its table as plain values, which the server takes
in half the time. The statement's text so depends only on which tables and columns are written, and on which of them
have one row; it is prepared once for each such shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ledger.storage.log import NewEvent
from ledger.storage.postgres_prepared import Bigints, Texts
from ledger.storage.tables import Row, Table, TableWrites

_EVENTS = Table("events", {"stream": "text", "version": "bigint", "type": "text", "body": "text"})

Value = Bigints | Texts | int | str


class Part(NamedTuple):
    """A table with the columns that are updated, or none for an insert of whole rows, and whether of one row only."""

    table: Table
    columns: tuple[str, ...]
    single: bool

    @property
    def sent(self) -> tuple[str, ...]:
        """The columns whose values travel, in order."""
        return (*self.columns, *self.table.key) if self.columns else tuple(self.table.columns)


def append_statement(
    events: Sequence[NewEvent], writes: Sequence[TableWrites], generation: int
) -> tuple[str, list[Value]]:
    """The statement, which answers one row with the head of the log before it, and its parameters."""
    parameters: list[Value] = [generation]
    shape: list[Part] = []
    for table, columns, rows in _parts(events, writes):
        part = Part(table, columns, len(rows) == 1)
        shape.append(part)
        parameters.extend(_values(part, rows))
    return _text(tuple(shape)), parameters


def _parts(
    events: Sequence[NewEvent], writes: Sequence[TableWrites]
) -> Iterator[tuple[Table, tuple[str, ...], Sequence[Row]]]:
    yield _EVENTS, (), events
    for written in writes:
        if written.inserts:
            yield written.table, (), written.inserts
        for columns, rows in written.updates.items():
            yield written.table, columns, rows


def _values(part: Part, rows: Sequence[Row]) -> list[Value]:
    if part.single:
        return list(rows[0])
    types = [part.table.columns[column] for column in part.sent]
    columns = zip(*rows, strict=True)
    return [Bigints(column) if type == "bigint" else Texts(column) for type, column in zip(types, columns, strict=True)]


@lru_cache(maxsize=256)
def _text(shape: tuple[Part, ...]) -> str:
    events, *others = shape
    parts = [
        "head AS MATERIALIZED (SELECT ledger_head(?) AS position)",
        f"appended AS ({_append(events)})",
        *(
            f"written_{number} AS ({_update(part) if part.columns else _insert(part)})"
            for number, part in enumerate(others)
        ),
    ]
    return f"WITH {', '.join(parts)} SELECT position FROM head"


def _append(events: Part) -> str:
    names = ", ".join(events.sent)
    number = "1" if events.single else "new.ordinality"
    return (
        f"INSERT INTO events (position, {names}) SELECT head.position + {number},"
        f" {', '.join(f'new.{name}' for name in events.sent)} FROM head, {_rows(events)}"
    )


def _insert(part: Part) -> str:
    names = ", ".join(part.sent)
    values = ", ".join(f"new.{name}" for name in part.sent)
    return f"INSERT INTO {part.table.name} ({names}) SELECT {values} FROM head, {_rows(part)}"


def _update(part: Part) -> str:
    table = part.table
    assignments = ", ".join(f"{column} = new.{column}" for column in part.columns)
    condition = " AND ".join(f"{table.name}.{column} = new.{column}" for column in table.key)
    return f"UPDATE {table.name} SET {assignments} FROM head, {_rows(part)} WHERE {condition}"


def _rows(part: Part) -> str:
    """The rows that were sent, as a table ``new`` with their columns and, of several, their ``ordinality`` from 1."""
    types, names = part.table.columns, ", ".join(part.sent)
    if part.single:
        return f"(SELECT {', '.join(f'?::{types[column]}' for column in part.sent)}) AS new ({names})"
    arrays = ", ".join(f"?::{types[column]}[]" for column in part.sent)
    return f"unnest({arrays}) WITH ORDINALITY AS new ({names}, ordinality)"
