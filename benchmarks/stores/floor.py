"""The floor: the ledger's very rows in raw SQL, with its lock, in batches as large as it reached, and nothing else.

What the ledger does on top (merging callers, making rows of events, keeping neighbours apart) is what the ratio shows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import psycopg

from benchmarks import rows
from benchmarks.databases import assert_durable_sqlite
from benchmarks.measure import Numbers, Operation
from ledger.storage import open_database
from projections.migrate import migrate

_EVENTS = ("bigint", "text", "bigint", "text", "text")
_ORDERS = ("bigint", "bigint", "text", "bigint", "text")
_INTENTS = ("bigint", "text", "text", "bigint", "text")
_ARRAYS_FROM = 4
"""With fewer rows in a batch PostgreSQL takes them faster as single parameters than as arrays."""

Rows = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]


def batch_of(size: int, numbers: Numbers) -> Rows:
    """The rows of so many new orders, by table; an event's first column is its place in the batch."""
    ids = [numbers() for _ in range(size)]
    events = [(place, made.stream, 1, rows.TYPE, made.body) for place, made in enumerate(map(rows.event, ids), 1)]
    return events, [rows.order_row(id) for id in ids], [rows.intent_row(id) for id in ids]


class Floor:
    """What both databases have in common. ``batch`` is set to what the ledger reached in the same round."""

    name = "raw SQL floor"

    def __init__(self, url: str) -> None:
        database = open_database(url)
        migrate(database)
        database.close()
        self.batch = 1
        self._ids = Numbers()

    def close(self) -> None:
        """Nothing is kept open."""


class PostgresFloor(Floor):
    """One statement a batch."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url = url

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """Writes a batch."""
        size, write = self.batch, _with_arrays if self.batch >= _ARRAYS_FROM else _with_values
        with psycopg.connect(self._url, autocommit=True) as connection:

            def append(_: int) -> int:
                statement, parameters = write(batch_of(size, self._ids))
                connection.execute(statement, parameters, prepare=True).fetchone()
                return size

            yield append

    def stored(self) -> int:
        """How many events there are."""
        with psycopg.connect(self._url) as connection:
            row = connection.execute("SELECT count(*) FROM events").fetchone()
        return int(row[0]) if row else 0


class SqliteFloor(Floor):
    """One transaction a batch, one ``executemany`` a table."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self._path = path
        self._writing = Lock()  # as in the ledger: waiting for SQLite's own lock is polling

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """Writes a batch."""
        size, connection = self.batch, sqlite3.connect(self._path, isolation_level=None, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        assert_durable_sqlite(connection)

        def append(_: int) -> int:
            batch = batch_of(size, self._ids)
            with self._writing:
                _write_transaction(connection, batch)
            return size

        yield append
        connection.close()

    def stored(self) -> int:
        """How many events there are."""
        connection = sqlite3.connect(self._path)
        found = int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
        connection.close()
        return found


def _write_transaction(connection: sqlite3.Connection, batch: Rows) -> None:
    events, orders, intents = batch
    connection.execute("BEGIN IMMEDIATE")
    head = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0]
    connection.executemany("INSERT INTO events VALUES (? + ?, ?, ?, ?, ?)", [(head, *row) for row in events])
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
    connection.executemany("INSERT INTO payment_intents VALUES (?, ?, ?, ?, ?)", intents)
    connection.execute("COMMIT")


def _with_arrays(batch: Rows) -> tuple[bytes, list[list[Any]]]:
    # In binary, as psycopg quotes text arrays with regular expressions.
    return _statement(0), [list(column) for table in batch for column in zip(*table, strict=True)]


def _with_values(batch: Rows) -> tuple[bytes, list[Any]]:
    return _statement(len(batch[0])), [value for table in batch for row in table for value in row]


@lru_cache(maxsize=8)
def _statement(values: int) -> bytes:
    events, orders, intents = (_source(types, values) for types in (_EVENTS, _ORDERS, _INTENTS))
    return f"""
        WITH head AS MATERIALIZED (SELECT ledger_head(0) AS position),
        appended AS (INSERT INTO events (position, stream, version, type, body)
            SELECT head.position + new.a, new.b, new.c, new.d, new.e FROM head, {events}),
        ordered AS (INSERT INTO orders (order_id, user_id, status, version, document) SELECT new.* FROM head, {orders}),
        intended AS (INSERT INTO payment_intents SELECT new.* FROM head, {intents})
        SELECT position FROM head""".encode()


def _source(types: Sequence[str], values: int) -> str:
    if not values:
        return f"unnest({', '.join(f'%b::{type}[]' for type in types)}) AS new (a, b, c, d, e)"
    row = f"({', '.join(f'%s::{type}' for type in types)})"
    return f"(VALUES {', '.join([row] * values)}) AS new (a, b, c, d, e)"
