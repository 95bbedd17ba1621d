"""What the ledger asks of a database, whichever it is.

SQL is written once, with ``?`` for parameters and no other question mark or percent sign in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from ledger.errors import StorageUnavailable
from ledger.storage.log import NewEvent
from ledger.storage.tables import Row, TableWrites

Dialect = Literal["sqlite", "postgres"]


class CommitUnknown(StorageUnavailable):
    """The connection broke while the transaction may have been committing; only the log knows."""


class Cursor(Protocol):
    """Runs statements on one connection."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Runs one statement and returns its rows (none for a statement that returns no rows)."""

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Runs one statement for each row of parameters, in order."""

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Row]:
        """Runs one query and yields its rows without ever holding all of them; inside ``snapshot`` or ``write``."""


class Database(Protocol):
    """A connection pool. All methods may be called from any thread.

    Raises StorageUnavailable when the database can't be reached, is locked too long, full or read-only, and the
    library's IntegrityError when a unique key is violated.
    """

    dialect: Dialect

    def create(self) -> None:
        """Makes an empty database where there is none, as far as that is the ledger's to do."""

    def read(self) -> AbstractContextManager[Cursor]:
        """Single statements, each consistent by itself."""

    def snapshot(self) -> AbstractContextManager[Cursor]:
        """A read-only transaction: all its statements see one moment of the database."""

    def write(self) -> AbstractContextManager[Cursor]:
        """A transaction that holds the writers' lock from its start; committed, durably, when the block ends well."""

    def transaction(self) -> AbstractContextManager[Cursor]:
        """A transaction beside the writers, where the database allows it: it must not touch what they write."""

    def append(self, events: Sequence[NewEvent], writes: Sequence[TableWrites]) -> int:
        """Appends events to the log and writes what goes with them, in one transaction under the writers' lock.

        Returns the position of the first event; the others follow it without a gap. Raises CommitUnknown when the
        connection breaks in the middle.
        """

    def next_order_ids(self, count: int = 1) -> Sequence[int]:
        """Order ids nobody was given before, rising. An id that is never used leaves a gap, which is harmless."""

    def close(self) -> None:
        """Closes every connection."""
