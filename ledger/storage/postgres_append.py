"""The append on PostgreSQL: one statement, one round trip, whatever is written with the events.

``ledger_head`` (see schema.py) takes the writers' lock and then reads the head of the log. It is a volatile function,
so that read has a snapshot of its own, taken when the lock is held; the statement's own snapshot is older and would
miss what was committed while it waited. The rows that the statement updates were there before it began, as a command
has read the events that made them.

Every part reads from ``head``, so that no row is locked before the writers' lock is held: the order in which the parts
of such a statement run is not defined.

Each column travels as one array, so the statement's text depends only on which tables and columns are written, and
is prepared once for each such shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from ledger.storage.log import NewEvent
from ledger.storage.postgres_arrays import Bigints, Texts
from ledger.storage.tables import ColumnType, Row, Table, TableWrites

_APPEND = (
    "WITH head AS MATERIALIZED (SELECT ledger_head() AS position), appended AS ("
    "INSERT INTO events (position, stream, version, type, body)"
    " SELECT head.position + new.number, new.stream, new.version, new.type, new.body"
    " FROM head, unnest(%s::text[], %s::bigint[], %s::text[], %s::text[])"
    " WITH ORDINALITY AS new (stream, version, type, body, number))"
)

_EVENT_TYPES: tuple[ColumnType, ...] = ("text", "bigint", "text", "text")

Part = tuple[Table, tuple[str, ...]]
"""A table with the columns that are updated, or none for an insert of whole rows."""


def append_statement(events: Sequence[NewEvent], writes: Sequence[TableWrites]) -> tuple[str, list[Bigints | Texts]]:
    """The statement, which answers one row with the head of the log before it, and its parameters."""
    parameters = _arrays(_EVENT_TYPES, events)
    shape: list[Part] = []
    for (table, columns), rows in _parts(writes):
        shape.append((table, columns))
        parameters.extend(_arrays([table.columns[column] for column in _sent(table, columns)], rows))
    return _text(tuple(shape)), parameters


def _parts(writes: Sequence[TableWrites]) -> Iterator[tuple[Part, Sequence[Row]]]:
    for written in writes:
        if written.inserts:
            yield (written.table, ()), written.inserts
        for columns, rows in written.updates.items():
            yield (written.table, columns), rows


def _sent(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    return (*columns, *table.key) if columns else tuple(table.columns)


def _arrays(types: Sequence[ColumnType], rows: Sequence[Row]) -> list[Bigints | Texts]:
    columns = zip(*rows, strict=True)
    return [Bigints(column) if type == "bigint" else Texts(column) for type, column in zip(types, columns, strict=True)]


@lru_cache(maxsize=256)
def _text(shape: tuple[Part, ...]) -> str:
    parts = [
        f"written_{number} AS ({_update(table, columns) if columns else _insert(table)})"
        for number, (table, columns) in enumerate(shape)
    ]
    return f"{', '.join([_APPEND, *parts])} SELECT position FROM head"


def _insert(table: Table) -> str:
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) SELECT new.* FROM head, {_unnested(table, ())}"


def _update(table: Table, columns: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = new.{column}" for column in columns)
    condition = " AND ".join(f"{table.name}.{column} = new.{column}" for column in table.key)
    return f"UPDATE {table.name} SET {assignments} FROM head, {_unnested(table, columns)} WHERE {condition}"


def _unnested(table: Table, columns: tuple[str, ...]) -> str:
    sent = _sent(table, columns)
    return f"unnest({', '.join(f'%s::{table.columns[column]}[]' for column in sent)}) AS new ({', '.join(sent)})"
