"""The eventsourcing library's own recorders, as its factories make them by default; ids are text, as in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventsourcing.persistence import InfrastructureFactory, StoredEvent, TrackingRecorder
from eventsourcing.sqlite import SQLiteFactory
from eventsourcing.utils import Environment

from benchmarks import rows
from benchmarks.databases import assert_durable_sqlite, postgres_parts
from benchmarks.measure import Operation


class Library:
    """An ApplicationRecorder of the library; on PostgreSQL it locks the table, which is its safe path."""

    name = "eventsourcing library"

    def __init__(self, settings: dict[str, str]) -> None:
        environment = Environment("", {"ORIGINATOR_ID_TYPE": "text", **settings})
        self._factory: InfrastructureFactory[TrackingRecorder] = InfrastructureFactory.construct(environment)
        self._recorder = self._factory.application_recorder()
        if isinstance(self._factory, SQLiteFactory):
            with self._factory.datastore.get_connection(commit=True) as connection:
                assert_durable_sqlite(connection._sqlite_conn)  # the connection that it writes with

    @classmethod
    def on_postgres(cls, url: str) -> Library:
        """With PostgresApplicationRecorder."""
        parts = postgres_parts(url)
        settings = {f"POSTGRES_{name.upper()}": parts[name] for name in ("dbname", "host", "port", "user")}
        settings["POSTGRES_PASSWORD"] = parts["password"] or "none"
        return cls({"PERSISTENCE_MODULE": "eventsourcing.postgres", **settings})

    @classmethod
    def on_sqlite(cls, path: Path) -> Library:
        """With SQLiteApplicationRecorder."""
        return cls({"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """Appends one event."""
        insert = self._recorder.insert_events

        def append(number: int) -> int:
            stream, body = rows.event(number)
            insert([StoredEvent(stream, 1, rows.TYPE, body.encode())])
            return 1

        yield append

    def stored(self) -> int:
        """Counted, as numbers may have gaps."""
        found, start = 0, 1
        while page := self._recorder.select_notifications(start, 10_000):
            found, start = found + len(page), page[-1].id + 1
        return found

    def close(self) -> None:
        """Closes the pool."""
        self._factory.close()
