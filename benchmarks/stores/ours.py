"""The ledger's own event store, as `serve` runs it; and without the views and intents that go with the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from eventsourcing.persistence import StoredEvent

from benchmarks import rows
from benchmarks.databases import assert_durable_sqlite
from benchmarks.measure import Operation
from ledger.storage import Database, open_database
from ledger.storage.log import ANY_GENERATION, NewEvent, Written
from ledger.storage.recorder import LogRecorder
from ledger.storage.sqlite import SqliteDatabase
from ledger.storage.tables import TableWrites
from projections.live import LiveViews
from projections.migrate import migrate
from projections.store import VIEWS


class Batches:
    """Stands before a database and counts the transactions that appends share."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = 0
        self.events = 0

    def append(self, events: Sequence[NewEvent], writes: Sequence[TableWrites], generation: int) -> int:
        """Appends, and counts."""
        first = self._database.append(events, writes, generation)
        self.transactions += 1
        self.events += len(events)
        return first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def mean(self) -> float:
        """Events a transaction since the last call."""
        mean = self.events / max(1, self.transactions)
        self.transactions = self.events = 0
        return mean


class Ours:
    """``LogRecorder`` on either database."""

    def __init__(self, url: str, *, views: bool) -> None:
        self.name = "ours" if views else "ours, events only"
        self._views = views
        self._database = open_database(url)
        migrate(self._database)
        if isinstance(self._database, SqliteDatabase):
            with self._database.write() as cursor:
                assert_durable_sqlite(cursor._connection)  # what is asserted is this very connection
        self.batches = Batches(self._database)
        self._recorder = LogRecorder(
            cast("Database", self.batches), LiveViews(self._database, VIEWS) if views else _NoViews()
        )

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """Appends one event, with its payment intent when views are on."""
        insert, with_intent = self._recorder.insert_events, self._views

        def append(number: int) -> int:
            stream, body = rows.event(number)
            stored = StoredEvent(stream, 1, rows.TYPE, body.encode())
            insert([stored], intents=[(number, rows.intent(number))] if with_intent else [])
            return 1

        yield append

    def stored(self) -> int:
        """The log's head, as positions are contiguous from 1; with views, every order has its row and its intent."""
        head = self._recorder.max_notification_id() or 0
        with self._database.read() as cursor:
            counted = [cursor.execute(f"SELECT count(*) FROM {table}")[0][0] for table in ("orders", "payment_intents")]
        if counted != [head * self._views] * 2:
            raise AssertionError(f"{head} events, but {counted} orders and intents")
        return head

    def close(self) -> None:
        """Closes the database."""
        self._database.close()


class _NoViews:
    """What goes with the events when there are no views."""

    def written(self, _events: Sequence[NewEvent]) -> Written:
        """Nothing."""
        return Written(ANY_GENERATION, [])

    def look_again(self) -> None:
        """Nothing can have changed."""
