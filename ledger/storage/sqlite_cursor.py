"""Statements and transactions on a SQLite connection, and what its errors are called here."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from eventsourcing.persistence import DataError, IntegrityError, ProgrammingError

from ledger.errors import StorageUnavailable
from ledger.storage.database import ViewsMoved
from ledger.storage.tables import Row

_STREAM_ROWS = 1000
_PRIMARY_CODE = 0xFF  # of a result code; what is above it says more of the same (https://www.sqlite.org/rescode.html)
_RETRY_SECONDS = 0.01


class SqliteCursor:
    """Runs statements on one SQLite connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(sql, rows)

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Row]:
        cursor = self._connection.execute(sql, parameters)
        while rows := cursor.fetchmany(_STREAM_ROWS):
            yield from rows


def use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Sets the journal to WAL, for ``timeout`` seconds at most: who finds others making that of a new file is not made
    to wait by SQLite, but told at once that it is locked."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


@contextmanager
def transaction(
    connection: sqlite3.Connection,
    begin: Callable[[], object],
    *,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[None]:
    """A transaction; ``around`` is entered once it has begun."""
    begin()
    with around():
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raises the errors that Database promises for those of SQLite."""
    try:
        yield
    except OverflowError as error:
        raise DataError(str(error)) from error
    except sqlite3.IntegrityError as error:
        raise IntegrityError(str(error)) from error
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
            raise StorageUnavailable(f"The database can't be used now: {error}.") from error
        kind = ViewsMoved if str(error).startswith("no such table") else ProgrammingError
        raise kind(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StorageUnavailable(f"The database can't be used: {error}.") from error
