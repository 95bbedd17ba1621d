"""What the ledger asks of a database, whichever it is.

SQL is written once, with ``?`` for parameters and no other question mark or percent sign in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeVar

from eventsourcing.persistence import ProgrammingError

from ledger.errors import StorageUnavailable
from ledger.storage.log import ANY_GENERATION, NewEvent
from ledger.storage.tables import Row, Table, TableWrites

T = TypeVar("T")
Dialect = Literal["sqlite", "postgres"]


class CommitUnknown(StorageUnavailable):
    """The connection broke while the transaction may have been committing; only the log knows."""


class ViewsMoved(ProgrammingError):
    """A table is not there, or other views are in force than the rows were made for: time to look which ones are."""


_LOOKS = 5


def with_views_in_force(use: Callable[[], T], look_again: Callable[[], None]) -> T:
    """Uses what is known of the views in force, again and with a new look when they turn out to be others.

    More than once, as several may change one right after the other. Raises StorageUnavailable when that does not help:
    a table is lost.
    """
    for _ in range(_LOOKS):
        try:
            return use()
        except ViewsMoved:
            look_again()
    try:
        return use()
    except ViewsMoved as error:
        raise StorageUnavailable(f"What is needed is not there: {error}") from error


class Cursor(Protocol):
    """Runs statements on one connection."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Runs one statement and returns its rows (none for a statement that returns no rows)."""

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Runs one statement for each row of parameters, in order."""

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Row]:
        """Runs one query and yields its rows without ever holding all of them; inside ``snapshot`` or ``write``."""


class StillInUse(StorageUnavailable):
    """Others have held a table, or the writers' lock, for longer than it would do to make everybody wait for them."""


class BulkCursor(Cursor, Protocol):
    """A cursor that also writes many rows of one table at once."""

    def insert(self, table: Table, rows: Collection[Sequence[object]]) -> None:
        """Inserts whole rows."""

    def update(self, table: Table, columns: Sequence[str], rows: Collection[Sequence[object]]) -> int:
        """Sets these columns of rows, each given as its new values followed by its key; returns how many were there."""


class ScratchCursor(BulkCursor, Protocol):
    """A cursor with tables of its own, which nobody else sees."""

    def create(self, table: Table) -> None:
        """Makes an empty temporary table, with its primary key only."""

    def attempt(self) -> AbstractContextManager[None]:
        """What fails inside is undone, and what was done before is left as it is."""


class Bulk(Protocol):
    """The connections of one long job: none of the requests' time-outs, and no lock that they would notice for long."""

    dialect: Dialect

    @property
    def size(self) -> int:
        """How many events the next batch should have."""

    def head(self) -> int:
        """The position of the log's last event, 0 when it is empty."""

    def page(self, after: int, upto: int, types: Sequence[str]) -> list[Row]:
        """The log's rows (see ``log.COLUMNS``) of these types, after one position and up to another."""

    def lines(self, after: int, upto: int, types: Sequence[str]) -> str:
        """The same in the fastest way: a line an event, ``[type, stream, version, body]``; from one thread at a time.

        They are JSON as far as bodies are.
        """

    def look(self) -> AbstractContextManager[Cursor]:
        """Single queries, each consistent by itself."""

    def batch(self) -> AbstractContextManager[BulkCursor]:
        """A transaction. A power failure may take it back, with all that came after it."""

    def swap(self, live: str | None) -> AbstractContextManager[BulkCursor]:
        """A durable transaction in which nobody appends, and nobody reads the table ``live``.

        Raises StillInUse at once, rather than make everybody wait, when somebody reads it or writes for long.
        """

    def create(self, cursor: Cursor, table: Table) -> None:
        """Makes an empty table, with its primary key only."""

    def finish(self, table: Table) -> None:
        """Gives a filled table the indexes that it lacks."""

    def rename(self, cursor: Cursor, old: str, new: str) -> None:
        """Renames a table and what is named after it."""

    def drop(self, table: str) -> None:
        """Drops a table if it is there, without holding a lock for long."""


class Database(Protocol):
    """A connection pool. All methods may be called from any thread.

    Raises StorageUnavailable when the database can't be reached, is locked too long, full or read-only, and the
    library's IntegrityError when a unique key is violated.
    """

    dialect: Dialect

    def create(self) -> None:
        """Makes an empty database where there is none, as far as that is the ledger's to do."""

    def takes_writes(self) -> bool:
        """Whether it does at all; a standby, for one, does not."""

    def read(self) -> AbstractContextManager[Cursor]:
        """Single statements, each consistent by itself."""

    def snapshot(self, tables: Sequence[str] = ()) -> AbstractContextManager[Cursor]:
        """A read-only transaction: all its statements see one moment of the database.

        Tables that a rebuild may swap are to be named: they stay the ones they are until the block ends. A swap waits
        for that. Raises ViewsMoved when one is not there.
        """

    def scratch(self, tables: Sequence[str] = ()) -> AbstractContextManager[ScratchCursor]:
        """The same on a connection of its own, with temporary tables; they are gone when the block ends."""

    def write(self) -> AbstractContextManager[Cursor]:
        """A transaction that holds the writers' lock from its start; committed, durably, when the block ends well."""

    def transaction(self) -> AbstractContextManager[Cursor]:
        """A transaction beside the writers, where the database allows it: it must not touch what they write."""

    def append(
        self, events: Sequence[NewEvent], writes: Sequence[TableWrites], generation: int = ANY_GENERATION
    ) -> int:
        """Appends events to the log and writes what goes with them, in one transaction under the writers' lock.

        Returns the position of the first event; the others follow it without a gap. Raises ViewsMoved when the set of
        views in force is not of this generation, CommitUnknown when the connection breaks in the middle.
        """

    def next_order_ids(self, count: int = 1) -> Sequence[int]:
        """Order ids nobody was given before, rising. An id that is never used leaves a gap, which is harmless."""

    def bulk(self, job: str | None, *, wait: bool = False) -> AbstractContextManager[Bulk]:
        """Connections of its own for a long job, one of a name at a time; the name is free again when its process ends.

        Raises AlreadyRunning when somebody has this job in hand, or waits for that to end. Of jobs without a name there
        may be any number.
        """

    def close(self) -> None:
        """Closes every connection."""
