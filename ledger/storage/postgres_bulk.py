"""Long jobs on PostgreSQL: two connections beside the pool's, one that writes and one that reads the log ahead."""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import Connection

from ledger.errors import AlreadyRunning
from ledger.storage.database import Cursor, Dialect, StillInUse
from ledger.storage.log import COLUMNS
from ledger.storage.postgres_cursor import PostgresCursor, errors_translated
from ledger.storage.postgres_prepared import PreparedConnection, Texts
from ledger.storage.schema import WRITERS_LOCK, for_dialect
from ledger.storage.tables import Row, Table

LOCK_TIMEOUT = "60ms"
"""How long a swap may wait for its locks: all who read the view, or append, wait as long behind it."""

_BATCH = 50_000
_JOBS = 0x6C65_6467  # "ledg": the class of the jobs' advisory locks
_POLL, _PATIENCE = 0.1, 10
_RANGE = "FROM events WHERE position > ? AND position <= ? AND type = ANY (?)"
_PAGE = f"SELECT {COLUMNS} {_RANGE} ORDER BY position"
_QUOTED_STREAM = r"""'"' || replace(replace(stream, '\', '\\'), '"', '\"') || '"'"""
_LINES = (
    f"""SELECT string_agg('["' || type || '",' || {_QUOTED_STREAM} || ',' || version || ',' || body || ']', E'\\n'"""
    f" ORDER BY position) {_RANGE}"
)
_SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "synchronous_commit": "off",
    # Whoever waits for the writers' lock must then see what was committed meanwhile.
    "default_transaction_isolation": "read committed",
    # A job that is killed while a statement runs lets go of its lock without waiting for the statement's end.
    "client_connection_check_interval": "1s",
}


class PostgresBulkCursor(PostgresCursor):
    """A cursor on the job's own connection."""

    def insert(self, table: Table, rows: Collection[Sequence[object]]) -> None:
        types = ["int8" if type == "bigint" else "text" for type in table.columns.values()]
        statement = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN (FORMAT BINARY)"
        with errors_translated(), self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def update(self, table: Table, columns: Sequence[str], rows: Collection[Sequence[object]]) -> int:
        sent = [*columns, *table.key]
        arrays = ", ".join(f"%s::{table.columns[column]}[]" for column in sent)
        assignments = ", ".join(f"{column} = new.{column}" for column in columns)
        condition = " AND ".join(f"{table.name}.{column} = new.{column}" for column in table.key)
        statement = (
            f"UPDATE {table.name} SET {assignments} FROM unnest({arrays}) AS new ({', '.join(sent)}) WHERE {condition}"
        )
        values = [list(column) for column in zip(*rows, strict=True)]
        with errors_translated():
            return self._connection.execute(statement.encode(), values).rowcount


class PostgresScratchCursor(PostgresBulkCursor):
    """A cursor on a connection whose transaction will be rolled back."""

    def create(self, table: Table) -> None:
        self.execute(for_dialect(table.temporary_ddl(), "postgres"))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        with errors_translated(), self._connection.transaction():
            yield


class PostgresBulk:
    """Works on ``writer``; reads the log on ``reader``."""

    dialect: Dialect = "postgres"
    size = _BATCH

    def __init__(self, writer: PreparedConnection, reader: PreparedConnection) -> None:
        self._writer = writer
        self._reader = reader

    def head(self) -> int:
        with errors_translated():
            return int(self._writer.run("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def page(self, after: int, upto: int, types: Sequence[str]) -> list[Row]:
        with errors_translated():
            return self._writer.run(_PAGE, (after, upto, Texts(types)))

    def lines(self, after: int, upto: int, types: Sequence[str]) -> str:
        with errors_translated():
            [(lines,)] = self._reader.run(_LINES, (after, upto, Texts(types)))
        return lines or ""

    @contextmanager
    def look(self) -> Iterator[PostgresCursor]:
        with errors_translated():
            yield PostgresCursor(self._writer)

    @contextmanager
    def batch(self) -> Iterator[PostgresBulkCursor]:
        with errors_translated(), self._writer.transaction():
            yield PostgresBulkCursor(self._writer)

    @contextmanager
    def swap(self, live: str | None) -> Iterator[PostgresBulkCursor]:
        # In the order in which an append takes them (see postgres_append.py): its tables when its statement starts, the
        # writers' lock when it runs. The other way round, the two would wait for each other.
        with errors_translated(), self._writer.transaction():
            self._writer.execute("SET LOCAL synchronous_commit = on")
            self._writer.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())
            try:
                if live is not None:
                    self._writer.execute(f"LOCK TABLE {live} IN ACCESS EXCLUSIVE MODE".encode())
                self._writer.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
                yield PostgresBulkCursor(self._writer)  # renaming asks for locks, too: of a table that is vacuumed, say
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                raise StillInUse("Somebody reads the view, or writes, for longer than others can wait.") from error

    def create(self, cursor: Cursor, table: Table) -> None:
        cursor.execute(for_dialect(table.ddl()[0], "postgres"))

    def finish(self, table: Table) -> None:
        with errors_translated():
            # Before the indexes are made: rows that were updated leave versions behind, for whose sake a new index is
            # not used by transactions that are older than it.
            self._writer.execute(f"VACUUM (ANALYZE) {table.name}".encode())
            for statement in table.ddl()[1:]:
                self._writer.execute(statement.encode())

    def rename(self, cursor: Cursor, old: str, new: str) -> None:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")
        constraints = "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(?)"
        for name in _named_after(old, cursor.execute(constraints, (new,))):
            cursor.execute(f"ALTER TABLE {new} RENAME CONSTRAINT {name} TO {new}{name.removeprefix(old)}")
        indexes = (
            "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = to_regclass(?)"
            " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"  # renamed with its constraint
        )
        for name in _named_after(old, cursor.execute(indexes, (new,))):
            cursor.execute(f"ALTER INDEX {name} RENAME TO {new}{name.removeprefix(old)}")

    def drop(self, table: str) -> None:
        with errors_translated():
            self._writer.execute(f"DROP TABLE IF EXISTS {table}".encode())


def lock_job(connection: Connection, job: str, *, wait: bool) -> None:
    """Takes an advisory lock of the session, which ends with the connection."""
    key = zlib.crc32(job.encode()) - 2**31
    attempt = 0
    while not _locked(connection, key):
        attempt += 1
        # Some patience: the server may not have noticed yet that the job's former process is gone.
        if attempt > _PATIENCE and not wait:
            raise AlreadyRunning(f"Another {job} is running on this database.")
        time.sleep(_POLL)


def configure_bulk(connection: Connection) -> None:
    """Sets the connection up for statements that take their time; what the server does not know is left out."""
    known = "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s"
    for name, value in _SETTINGS.items():
        connection.execute(known, (value, name))


def _locked(connection: Connection, key: int) -> bool:
    rows = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_JOBS, key)).fetchall()
    return bool(rows[0][0])


def _named_after(table: str, rows: Sequence[Row]) -> list[str]:
    return [name for (name,) in rows if name.startswith(f"{table}_")]
