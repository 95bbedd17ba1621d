"""Statements and transactions on a SQLite connection, and what its errors are called here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from eventsourcing.persistence import DataError, IntegrityError, ProgrammingError

from ledger.errors import StorageUnavailable
from ledger.storage.database import ViewsMoved
from ledger.storage.tables import Row

_STREAM_ROWS = 1000


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
