"""PostgreSQL: a pool of connections, one advisory lock for all who append to the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, LiteralString, Self

import psycopg
from eventsourcing.persistence import DataError, IntegrityError, ProgrammingError
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import SettingsError, StorageUnavailable
from ledger.storage.database import CommitUnknown, Dialect
from ledger.storage.log import NewEvent
from ledger.storage.postgres_append import append_statement
from ledger.storage.postgres_prepared import ConnectionLost, PreparedConnection
from ledger.storage.schema import WRITERS_LOCK
from ledger.storage.tables import Row, TableWrites

_STREAM_ROWS = 5000


_SLOW_PLANS = ("seqscan", "bitmapscan", "sort", "incremental_sort", "hashjoin", "mergejoin")
_PLANS = {f"enable_{plan}": "off" for plan in _SLOW_PLANS} | {
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_generic_plan",
}
"""Every query of the ledger finds its rows by key, in an index that has them in order. The planner is held to that,
and plans a statement once: while its statistics are new it would sort all orders of a user for a page of twenty, and
in a ledger of a million it would start processes to read one."""


class PostgresCursor:
    """Runs statements on one PostgreSQL connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        cursor = self._connection.execute(_with_psycopg_placeholders(sql), parameters)
        return cursor.fetchall() if cursor.description else []

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_with_psycopg_placeholders(sql), rows)

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Row]:
        with self._connection.cursor(name="ledger_stream") as cursor:
            cursor.itersize = _STREAM_ROWS
            yield from cursor.execute(_with_psycopg_placeholders(sql), parameters)


class _ReadCursor(PostgresCursor):
    """Runs the statements of requests: they are few, and come again."""

    def __init__(self, connection: PreparedConnection) -> None:
        super().__init__(connection)
        self.execute = connection.run  # type: ignore[method-assign]  # bound once: this is on every request's path


class PostgresDatabase:
    """A PostgreSQL database named by a libpq URI."""

    dialect: Dialect = "postgres"

    def __init__(self, url: str, *, pool_size: int, timeout: float) -> None:
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise SettingsError("LEDGER_DATABASE_URL is not a libpq URI") from error
        self._milliseconds = round(timeout * 1000)
        self._refusal = ""
        self._pool = ConnectionPool(
            url,
            connection_class=self._remembering_connection(),
            # psycopg prepares nothing by itself: it would DEALLOCATE ALL after a rollback, and our statements with it.
            kwargs={
                "autocommit": True,
                "connect_timeout": max(2, min(5, round(timeout))),
                "prepare_threshold": None,
            },
            min_size=1,
            max_size=pool_size,
            timeout=timeout,
            # Past this the pool gives up and tries again on the next request: a database that is back is used at once,
            # while the pool's own attempts would be minutes apart by then.
            reconnect_timeout=timeout,
            configure=self._configure,
            open=False,
        )

    def create(self) -> None:
        """Nothing: databases are made by the server's administrator."""

    @contextmanager
    def read(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection:
            yield _ReadCursor(connection)

    @contextmanager
    def snapshot(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute("SET LOCAL statement_timeout = 0")
            yield PostgresCursor(connection)

    @contextmanager
    def write(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
            yield PostgresCursor(connection)

    @contextmanager
    def transaction(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection, connection.transaction():
            yield PostgresCursor(connection)

    def append(self, events: Sequence[NewEvent], writes: Sequence[TableWrites]) -> int:
        statement, parameters = append_statement(events, writes)
        with self._connection() as connection:
            try:
                [(head,)] = connection.run(statement, parameters)
            except ConnectionLost as error:
                self._pool.check()  # the log is asked next, on a connection that works
                raise CommitUnknown(f"The connection broke: {_first_line(error)}") from error
        return int(head) + 1

    def next_order_ids(self, count: int = 1) -> Sequence[int]:
        with self._connection() as connection:
            rows = connection.run("SELECT nextval('order_ids') FROM generate_series(1, ?)", (count,))
        return [row[0] for row in rows]

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _connection(self) -> Iterator[PreparedConnection]:
        connection: PreparedConnection | None = None
        try:
            # Opened on first use and not on construction: a pool must not cross a fork.
            self._pool.open(wait=False)
            connection = self._pool.getconn()
            try:
                yield connection
            finally:
                self._pool.putconn(connection)
        except psycopg.IntegrityError as error:
            raise IntegrityError(str(error)) from error
        except (psycopg.DataError, OverflowError) as error:
            raise DataError(str(error)) from error
        except PoolTimeout as error:
            raise StorageUnavailable(f"The database can't be reached: {self._refusal or error}") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction) as error:
            if connection is not None and connection.broken:
                self._pool.check()  # what broke this one broke the idle ones too; no other caller need find out
            raise StorageUnavailable(f"The database can't be used now: {_first_line(error)}") from error
        except psycopg.Error as error:
            raise ProgrammingError(str(error)) from error

    def _remembering_connection(self) -> type[PreparedConnection]:
        """Connections whose failures to connect are kept: the pool tells its log of them, and callers only the time."""
        database = self

        class Remembering(PreparedConnection):
            @classmethod
            def connect(cls, conninfo: str = "", **options: Any) -> Self:
                try:
                    connection = super().connect(conninfo, **options)
                except psycopg.Error as error:
                    database._refusal = _first_line(error)
                    raise
                database._refusal = ""
                return connection

        return Remembering

    def _configure(self, connection: Connection) -> None:
        settings = {
            "statement_timeout": f"{self._milliseconds}ms",
            "lock_timeout": f"{self._milliseconds}ms",
            "idle_in_transaction_session_timeout": f"{self._milliseconds * 4}ms",
            **_PLANS,
        }
        calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        connection.execute(f"SELECT {calls}", [part for setting in settings.items() for part in setting])


@lru_cache(maxsize=512)
def _with_psycopg_placeholders(sql: str) -> LiteralString:
    return sql.replace("?", "%s")


def _first_line(error: psycopg.Error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
