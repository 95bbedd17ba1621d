"""Statements on a PostgreSQL connection, and what its errors are called here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import LiteralString

import psycopg
from eventsourcing.persistence import DataError, IntegrityError, ProgrammingError
from psycopg import Connection

from ledger.errors import StorageUnavailable
from ledger.storage.database import ViewsMoved
from ledger.storage.schema import VIEWS_MOVED
from ledger.storage.tables import Row

_STREAM_ROWS = 5000


class PostgresCursor:
    """Runs statements on one PostgreSQL connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        cursor = self._connection.execute(with_psycopg_placeholders(sql), parameters)
        return cursor.fetchall() if cursor.description else []

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(with_psycopg_placeholders(sql), rows)

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Row]:
        with self._connection.cursor(name="ledger_stream") as cursor:
            cursor.itersize = _STREAM_ROWS
            yield from cursor.execute(with_psycopg_placeholders(sql), parameters)


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raises the errors that Database promises for those of psycopg."""
    try:
        yield
    except psycopg.IntegrityError as error:
        raise IntegrityError(str(error)) from error
    except (psycopg.DataError, OverflowError) as error:
        raise DataError(str(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise StorageUnavailable(f"The database can't be used now: {first_line(error)}") from error
    except psycopg.Error as error:
        moved = isinstance(error, psycopg.errors.UndefinedTable) or error.sqlstate == VIEWS_MOVED
        raise (ViewsMoved if moved else ProgrammingError)(str(error)) from error


@lru_cache(maxsize=512)
def with_psycopg_placeholders(sql: str) -> LiteralString:
    """The statement as psycopg wants it."""
    return sql.replace("?", "%s")


def first_line(error: psycopg.Error) -> str:
    """What the server says first; the rest is detail."""
    return (str(error).splitlines() or [type(error).__name__])[0]
