"""Long jobs on SQLite, where one writes at a time: short transactions, and a pause after each while others write."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ledger.errors import AlreadyRunning, StorageUnavailable
from ledger.storage.database import Cursor, Dialect
from ledger.storage.log import COLUMNS
from ledger.storage.pace import Pace
from ledger.storage.schema import for_dialect
from ledger.storage.sqlite_cursor import SqliteCursor, errors_translated, transaction
from ledger.storage.tables import Row, Table

LOCK_TIMEOUT = 60.0
"""Seconds that a job waits for the database's lock: whoever asks a person to wait has more right to it."""

BUSY_TIMEOUT = 0.005
"""Seconds that SQLite itself waits for the lock; it waits longer each time that it does not get it."""

_FEW = 2_000
"""A table with fewer rows is dropped at once."""

_POLL = 0.1

Turn = Callable[[], AbstractContextManager[None]]


class SqliteBulkCursor(SqliteCursor):
    """A cursor on the job's own connection."""

    def insert(self, table: Table, rows: Collection[Sequence[object]]) -> None:
        with errors_translated():
            self.executemany(table.insert_sql(), rows)

    def update(self, table: Table, columns: Sequence[str], rows: Collection[Sequence[object]]) -> int:
        with errors_translated():
            return self._connection.executemany(table.update_sql(columns), rows).rowcount


class SqliteScratchCursor(SqliteBulkCursor):
    """A cursor on a connection whose transaction will be rolled back."""

    def create(self, table: Table) -> None:
        self.execute(for_dialect(table.temporary_ddl(), "sqlite"))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        with errors_translated():
            self.execute("SAVEPOINT attempt")
            try:
                yield
            except BaseException:
                self.execute("ROLLBACK TO attempt")
                raise
            finally:
                self.execute("RELEASE attempt")


class SqliteBulk:
    """Works on ``writer``, in ``turn`` with the other threads of this process; reads the log on ``reader``."""

    dialect: Dialect = "sqlite"

    def __init__(
        self, writer: sqlite3.Connection, reader: sqlite3.Connection, *, turn: Turn, reading: Turn, pace: Pace
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._turn = turn
        self._reading = reading
        self._pace = pace

    @property
    def size(self) -> int:
        return self._pace.size

    def head(self) -> int:
        with self._reading():
            rows = self._reader.execute("SELECT coalesce(max(position), 0) FROM events").fetchall()
        head = int(rows[0][0])
        self._pace.saw(head)
        return head

    def page(self, after: int, upto: int, types: Sequence[str]) -> list[Row]:
        with self.look() as cursor:
            return cursor.execute(_range(types), (after, upto, *types))

    def lines(self, after: int, upto: int, types: Sequence[str]) -> str:
        line = """'["' || type || '",' || json_quote(stream) || ',' || version || ',' || body || ']'"""
        with self.look() as cursor:
            query = f"SELECT group_concat({line}, char(10)) FROM ({_range(types)})"
            [(lines,)] = cursor.execute(query, (after, upto, *types))
        return lines or ""

    @contextmanager
    def look(self) -> Iterator[SqliteCursor]:
        with errors_translated(), self._reading():
            yield SqliteCursor(self._reader)

    @contextmanager
    def batch(self) -> Iterator[SqliteBulkCursor]:
        self.head()
        self._pace.wait()
        with errors_translated(), self._turn(), transaction(self._writer, self._begin, around=self._pace.measured):
            yield SqliteBulkCursor(self._writer)
        if self._pace.busy:
            # So that the others, whose turn it is now, need not do it as a part of a commit of theirs.
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextmanager
    def swap(self, live: str | None) -> Iterator[SqliteBulkCursor]:  # noqa: ARG002  the one lock is for all tables
        self._pace.wait()
        with errors_translated(), self._turn():
            self._writer.execute("PRAGMA synchronous=FULL")
            try:
                with transaction(self._writer, self._begin):
                    yield SqliteBulkCursor(self._writer)
            finally:
                self._writer.execute("PRAGMA synchronous=NORMAL")

    def create(self, cursor: Cursor, table: Table) -> None:
        cursor.execute(for_dialect(table.ddl()[0], "sqlite"))

    def finish(self, table: Table) -> None:
        with self.look() as cursor:
            pairs = cursor.execute("SELECT tbl_name, name FROM sqlite_master WHERE type = 'index'")
        taken = {name for _, name in pairs}
        made = sum(1 for of, name in pairs if of == table.name and not name.startswith("sqlite_"))
        for columns in table.indexes[made:]:
            # An index keeps its name when its table is renamed, so the plain one may be the former table's.
            base = f"{table.name.removesuffix('_next')}_by_{'_'.join(columns)}"
            name = next(name for name in (base, f"{base}_2", f"{base}_3") if name not in taken)
            with self.batch() as cursor:
                cursor.execute(f"CREATE INDEX {name} ON {table.name} ({', '.join(columns)})")

    def rename(self, cursor: Cursor, old: str, new: str) -> None:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def drop(self, table: str) -> None:
        with self.look() as cursor:
            if not cursor.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)):
                return
            rows = cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_FEW})")[0][0]
        if rows == _FEW:
            self._empty(table)
        with self.batch() as cursor:
            cursor.execute(f"DROP TABLE {table}")

    def _empty(self, table: str) -> None:
        """To drop a table takes the lock for as long as it takes to free all its pages: this goes bit by bit."""
        with self.look() as cursor:
            indexes = cursor.execute(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
            )
        for (name,) in indexes:
            with self.batch() as cursor:
                cursor.execute(f"DROP INDEX {name}")
        left = True
        while left:
            with self.batch() as cursor:
                some = f"SELECT rowid FROM {table} ORDER BY rowid LIMIT ?"
                cursor.execute(f"DELETE FROM {table} WHERE rowid IN ({some})", (self.size,))
                left = bool(cursor.execute(f"SELECT 1 FROM {table} LIMIT 1"))

    def _begin(self) -> None:
        """Takes the lock, looking for it more often than SQLite would; the pauses keep that fair to the others."""
        patient = self._pace.now() + LOCK_TIMEOUT
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or self._pace.now() > patient:
                    raise


def _range(types: Sequence[str]) -> str:
    return (
        f"SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ?"
        f" AND type IN ({', '.join('?' * len(types))}) ORDER BY position"
    )


@contextmanager
def file_lock(path: Path, job: str, *, wait: bool) -> Iterator[None]:
    """Holds a lock on a file beside the database, which ends with the process that holds it."""
    try:
        descriptor = os.open(f"{path}-{job.replace(' ', '-')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageUnavailable(f"The lock file beside the database can't be made: {error}.") from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not wait:
                    raise AlreadyRunning(f"Another {job} is running on this database.") from error
                time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)
