"""PostgreSQL: a pool of connections, one advisory lock for all who append to the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Self

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import SettingsError, StorageUnavailable
from ledger.storage.database import CommitUnknown, Dialect
from ledger.storage.log import ANY_GENERATION, NewEvent
from ledger.storage.postgres_append import append_statement
from ledger.storage.postgres_bulk import PostgresBulk, PostgresScratchCursor, configure_bulk, lock_job
from ledger.storage.postgres_cursor import PostgresCursor, errors_translated, first_line
from ledger.storage.postgres_prepared import ConnectionLost, PreparedConnection
from ledger.storage.schema import WRITERS_LOCK
from ledger.storage.tables import TableWrites

CONNECT_TIMEOUT = 5
"""Seconds that a long job waits for a connection."""

_SLOW_PLANS = ("seqscan", "bitmapscan", "sort", "incremental_sort", "hashjoin", "mergejoin")
_PLANS = {f"enable_{plan}": "off" for plan in _SLOW_PLANS} | {
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_generic_plan",
}
"""Every query of the ledger finds its rows by key, in an index that has them in order. The planner is held to that,
and plans a statement once: while its statistics are new it would sort all orders of a user for a page of twenty, and
in a ledger of a million it would start processes to read one."""


class _ReadCursor(PostgresCursor):
    """Runs the statements of requests: they are few, and come again."""

    def __init__(self, connection: PreparedConnection) -> None:
        super().__init__(connection)
        self.execute = connection.run  # type: ignore[method-assign]  # bound once: this is on every request's path


_SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
    " SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
"""In one round trip. Who takes an export may be slower than the log is read; one who has gone the server notices."""


class PostgresDatabase:
    """A PostgreSQL database named by a libpq URI."""

    dialect: Dialect = "postgres"

    def __init__(self, url: str, *, pool_size: int, timeout: float) -> None:
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise SettingsError("LEDGER_DATABASE_URL is not a libpq URI") from error
        self._url = url
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

    def takes_writes(self) -> bool:
        with self.read() as cursor:
            [(read_only,)] = cursor.execute("SELECT current_setting('transaction_read_only')")
        return bool(read_only == "off")

    @contextmanager
    def read(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection:
            yield _ReadCursor(connection)

    @contextmanager
    def snapshot(self, tables: Sequence[str] = ()) -> Iterator[PostgresCursor]:
        with self._connection() as connection, connection.transaction():
            connection.execute(_SNAPSHOT)
            _hold(connection, tables)
            yield PostgresCursor(connection)

    @contextmanager
    def scratch(self, tables: Sequence[str] = ()) -> Iterator[PostgresScratchCursor]:
        # Not of the pool, whose planner is held to small queries.
        with errors_translated(), closing(self._connected()) as connection:
            configure_bulk(connection)
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                _hold(connection, tables)
                yield PostgresScratchCursor(connection)

    @contextmanager
    def write(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
            yield PostgresCursor(connection)

    @contextmanager
    def transaction(self) -> Iterator[PostgresCursor]:
        with self._connection() as connection, connection.transaction():
            yield PostgresCursor(connection)

    def append(
        self, events: Sequence[NewEvent], writes: Sequence[TableWrites], generation: int = ANY_GENERATION
    ) -> int:
        statement, parameters = append_statement(events, writes, generation)
        with self._connection() as connection:
            try:
                [(head,)] = connection.run(statement, parameters)
            except ConnectionLost as error:
                self._pool.check()  # the log is asked next, on a connection that works
                raise CommitUnknown(f"The connection broke: {first_line(error)}") from error
        return int(head) + 1

    def next_order_ids(self, count: int = 1) -> Sequence[int]:
        with self._connection() as connection:
            rows = connection.run("SELECT nextval('order_ids') FROM generate_series(1, ?)", (count,))
        return [row[0] for row in rows]

    @contextmanager
    def bulk(self, job: str | None, *, wait: bool = False) -> Iterator[PostgresBulk]:
        with errors_translated(), closing(self._connected()) as writer, closing(self._connected()) as reader:
            for connection in (writer, reader):
                configure_bulk(connection)
            if job is not None:
                lock_job(writer, job, wait=wait)
            yield PostgresBulk(writer, reader)

    def close(self) -> None:
        self._pool.close()

    def _connected(self) -> PreparedConnection:
        """A connection beside the pool's."""
        options: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT}
        return PreparedConnection.connect(self._url, **options)

    @contextmanager
    def _connection(self) -> Iterator[PreparedConnection]:
        connection: PreparedConnection | None = None
        with errors_translated():
            try:
                # Opened on first use and not on construction: a pool must not cross a fork.
                self._pool.open(wait=False)
                connection = self._pool.getconn()
                try:
                    yield connection
                finally:
                    self._pool.putconn(connection)
            except PoolTimeout as error:
                raise StorageUnavailable(f"The database can't be reached: {self._refusal or error}") from error
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if connection is not None and connection.broken:
                    self._pool.check()  # what broke this one broke the idle ones too; no other caller need find out
                raise

    def _remembering_connection(self) -> type[PreparedConnection]:
        """Connections whose failures to connect are kept: the pool tells its log of them, and callers only the time."""
        database = self

        class Remembering(PreparedConnection):
            @classmethod
            def connect(cls, conninfo: str = "", **options: Any) -> Self:
                try:
                    connection = super().connect(conninfo, **options)
                except psycopg.Error as error:
                    database._refusal = first_line(error)
                    raise
                database._refusal = ""
                return connection

        return Remembering

    def _configure(self, connection: Connection) -> None:
        settings = {
            "statement_timeout": f"{self._milliseconds}ms",
            "lock_timeout": f"{self._milliseconds}ms",
            "idle_in_transaction_session_timeout": f"{self._milliseconds * 4}ms",
            # An append that waited for the writers' lock must see what was committed meanwhile.
            "default_transaction_isolation": "read committed",
            **_PLANS,
        }
        calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        connection.execute(f"SELECT {calls}", [part for setting in settings.items() for part in setting])


def _hold(connection: Connection, tables: Sequence[str]) -> None:
    """Keeps swaps away from the tables until the transaction ends.

    First of all in it: the snapshot is taken by the first query, and a table that were swapped in after that would show
    what it held then, which is half of it.
    """
    if tables:
        connection.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE".encode())
