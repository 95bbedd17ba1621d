"""SQLite: one file in WAL mode, every commit on disk before it is answered (synchronous=FULL).

Order ids come from a counter that is committed with synchronous=NORMAL, which saves the second fsync of every order.
Nothing is lost by it: the write-ahead log is written in order, so an order that is durable makes the counter before it
durable too (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from threading import Lock, RLock

from ledger.errors import AlreadyRunning, StorageUnavailable
from ledger.storage.database import Dialect, ViewsMoved
from ledger.storage.log import ANY_GENERATION, COLUMNS, NewEvent
from ledger.storage.pace import Pace
from ledger.storage.sqlite_bulk import BUSY_TIMEOUT, SqliteBulk, SqliteScratchCursor, file_lock
from ledger.storage.sqlite_cursor import SqliteCursor, errors_translated, transaction, use_wal
from ledger.storage.sqlite_queue import WritersQueue
from ledger.storage.tables import TableWrites


class SqliteDatabase:
    """A SQLite file, or a database in memory when the path is ``:memory:``."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: str, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._in_memory = path == ":memory:"
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._file: tuple[int, int] | None = None
        self._pool_lock = Lock()
        # Threads queue here, and processes below, as waiting for SQLite is polling. In memory readers queue, too.
        self._writers = RLock()
        self._processes = WritersQueue(Path(path), timeout)
        self._turns = 0
        self._jobs: defaultdict[str, Lock] = defaultdict(Lock)
        self._writer: sqlite3.Connection | None = None
        self._counter: sqlite3.Connection | None = None

    def create(self) -> None:
        if self._in_memory:
            return
        path = Path(self._path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # for its owner only: it holds client secrets
        except OSError as error:
            raise StorageUnavailable(f"The database's file can't be made: {error}.") from error

    def takes_writes(self) -> bool:
        return self._in_memory or os.access(self._path, os.W_OK)

    @contextmanager
    def read(self) -> Iterator[SqliteCursor]:
        with errors_translated(), self._reader() as connection:
            yield SqliteCursor(connection)

    @contextmanager
    def snapshot(self, tables: Sequence[str] = ()) -> Iterator[SqliteCursor]:
        with errors_translated(), self._reader() as connection, _transaction(connection, "BEGIN"):
            _look_at(connection, tables)
            yield SqliteCursor(connection)

    @contextmanager
    def scratch(self, tables: Sequence[str] = ()) -> Iterator[SqliteScratchCursor]:
        with errors_translated(), self._own() as connection:
            connection.execute("BEGIN")
            try:
                _look_at(connection, tables)
                yield SqliteScratchCursor(connection)
            finally:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[SqliteCursor]:
        with errors_translated(), self._turn():
            connection = self._shared()
            self._check_file()
            with _transaction(connection, "BEGIN IMMEDIATE"):
                yield SqliteCursor(connection)

    def transaction(self) -> AbstractContextManager[SqliteCursor]:
        return self.write()  # a file has one writer at a time

    def append(
        self, events: Sequence[NewEvent], writes: Sequence[TableWrites], generation: int = ANY_GENERATION
    ) -> int:
        with self.write() as cursor:
            first: int
            query = "SELECT (SELECT coalesce(max(position), 0) + 1 FROM events), generation FROM view_set"
            [(first, found)] = cursor.execute(query)
            if generation not in {ANY_GENERATION, found}:
                raise ViewsMoved("other views are in force")
            rows = ((position, *event) for position, event in enumerate(events, first))
            cursor.executemany(f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?)", rows)
            for written in writes:
                cursor.executemany(written.table.insert_sql(), written.inserts)
                for columns, updates in written.updates.items():
                    cursor.executemany(written.table.update_sql(columns), updates)
        return first

    def next_order_ids(self, count: int = 1) -> Sequence[int]:
        with errors_translated(), self._turn():
            if self._counter is None:
                self._counter = self._shared() if self._in_memory else self._connect("NORMAL")
            self._check_file()
            row = self._counter.execute("UPDATE order_ids SET last = last + ? RETURNING last", (count,)).fetchall()[0]
            return range(row[0] - count + 1, row[0] + 1)

    @contextmanager
    def bulk(self, job: str | None, *, wait: bool = False) -> Iterator[SqliteBulk]:
        with errors_translated(), self._alone(job, wait):
            if self._in_memory:
                with self._turn():
                    shared = self._shared()
                yield SqliteBulk(shared, shared, turn=self._turn, reading=self._turn, pace=Pace())
                return
            with closing(self._connect("NORMAL")) as writer, closing(self._connect("NORMAL")) as reader:
                writer.execute(f"PRAGMA busy_timeout={round(BUSY_TIMEOUT * 1000)}")
                yield SqliteBulk(writer, reader, turn=self._turn, reading=nullcontext, pace=Pace())

    def close(self) -> None:
        """Closes every connection; one that another thread is reading with, as soon as it is done."""
        with self._pool_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        with self._writers:
            for held in (self._writer, self._counter):
                if held is not None:
                    held.close()
            self._writer = self._counter = None
            self._processes.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        if self._in_memory:
            with self._turn():
                yield self._shared()
            return
        with self._pool_lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect("FULL")
        try:
            self._check_file()
            yield connection
        finally:
            self._take_back(connection)

    @contextmanager
    def _own(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile."""
        if self._in_memory:
            with self._turn():
                yield self._shared()
            return
        with closing(self._connect("FULL")) as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The turn to write, waited for no longer than SQLite's own lock would be."""
        if not self._writers.acquire(timeout=self._timeout):
            raise StorageUnavailable("The database is busy with other writes.")
        self._turns += 1
        try:
            with self._turn_of_this_process() if self._turns == 1 else nullcontext():
                yield
        finally:
            self._turns -= 1
            self._writers.release()

    def _turn_of_this_process(self) -> AbstractContextManager[None]:
        if self._in_memory:
            return nullcontext()
        self._check_file()
        return self._processes.turn()

    @contextmanager
    def _alone(self, job: str | None, wait: bool) -> Iterator[None]:
        if job is None:
            yield
            return
        if not self._in_memory:
            self._check_file()
            with file_lock(Path(self._path), job, wait=wait):
                yield
            return
        if not self._jobs[job].acquire(blocking=wait):
            raise AlreadyRunning(f"Another {job} is running on this database.")
        try:
            yield
        finally:
            self._jobs[job].release()

    def _take_back(self, connection: sqlite3.Connection) -> None:
        with self._pool_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _shared(self) -> sqlite3.Connection:
        """The one connection that writes; only while holding the writers' lock."""
        if self._writer is None:
            self._writer = self._connect("FULL")
        return self._writer

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        if self._closed:
            raise StorageUnavailable("The database is closed.")
        self._check_file()
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            use_wal(connection, self._timeout)
            connection.execute(f"PRAGMA synchronous={synchronous}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _check_file(self) -> None:
        """Refuses to work on a file that is gone or was replaced: what is written to it would be lost with it."""
        if self._in_memory:
            return
        try:
            found = os.stat(self._path)  # noqa: PTH116  twice as fast, on every request's path
        except FileNotFoundError as error:
            message = f"There is no database file {self._path}: `order-ledger migrate` creates one."
            raise StorageUnavailable(message) from error
        except OSError as error:
            raise StorageUnavailable(f"The database's file can't be used: {error}.") from error
        self._file = self._file or (found.st_dev, found.st_ino)
        if self._file != (found.st_dev, found.st_ino):
            raise StorageUnavailable("The database's file was replaced while in use: start again on the new one.")


def _look_at(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Takes the snapshot, which no swap can change any more."""
    for table in tables:
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall()


def _transaction(connection: sqlite3.Connection, begin: str) -> AbstractContextManager[None]:
    return transaction(connection, lambda: connection.execute(begin))
