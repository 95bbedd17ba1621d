"""The event store: appends to the log and reads of it, as the eventsourcing library asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from time import perf_counter
from typing import Any
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, StoredEvent, Subscription

from ledger.observer import Observed
from ledger.payments.gateway import Intent
from ledger.storage.database import CommitUnknown, Cursor, Database, with_views_in_force
from ledger.storage.group_commit import GroupCommit
from ledger.storage.log import COLUMNS, PAYMENT_INTENTS, Append, InlineViews, NewEvent, RecordedEvent
from ledger.storage.tables import Row, TableWrites


class LogRecorder(ApplicationRecorder):
    """The event store on one table, for any Database.

    Positions are drawn from the head of the log while holding the writers' lock, not from a sequence: they are
    contiguous from 1, and commit in order, so whoever follows the log never misses one. Appends that wait at the same
    time share a transaction.
    """

    def __init__(self, database: Database, views: InlineViews, observed: Observed | None = None) -> None:
        self._database = database
        self._views = views
        self._observed = observed or Observed()
        self._commits: GroupCommit[Append, int] = GroupCommit(self._write)

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        intents: Sequence[tuple[int, Intent]] = (),
        beside: Sequence[TableWrites] = (),
        **options: Any,
    ) -> Sequence[int] | None:
        """Appends the events, the views they change, for each new order (order id, its payment intent), and ``beside``.

        Returns their positions. Raises IntegrityError when a stream has that version already or a view's unique key
        is violated; then nothing was written. Raises StorageUnavailable when the database can't be used, or when too
        many appends wait; then nothing was written, unless the connection broke while committing and the database has
        not come back to say so.
        """
        if options.keys() - {"tracking"}:  # which the library passes along; a misspelt intent would be lost for ever
            raise TypeError(f"unknown options: {', '.join(options)}")
        if not stored_events:
            return None
        rows = [_intent_row(*intent) for intent in intents]
        append = Append([_new_event(event) for event in stored_events], rows, beside)
        first = self._submitted(append)
        return list(range(first, first + len(append.events)))

    def _submitted(self, append: Append) -> int:
        """The position of its first event, once it is committed."""
        tell, outcome = self._observed.by.appending(len(append.events)), "failed"
        try:
            first = self._commits.submit(append)
            outcome = "committed"
            return first
        except IntegrityError:
            outcome = "conflict"
            raise
        finally:
            tell(outcome)

    def _write(self, appends: Sequence[Append]) -> Sequence[int]:
        """Commits all the appends as one; returns the position of each one's first event."""
        events = [event for append in appends for event in append.events]
        intents = [row for append in appends for row in append.payment_intents]
        beside = [written for append in appends for written in append.beside]
        began = perf_counter()
        # When the views have moved nothing was written.
        first = with_views_in_force(lambda: self._append(events, intents, beside), self._views.look_again)
        self._observed.by.committed(len(appends), len(events), perf_counter() - began)
        return list(accumulate((len(append.events) for append in appends[:-1]), initial=first))

    def _append(self, events: Sequence[NewEvent], intents: Sequence[Row], beside: Sequence[TableWrites]) -> int:
        generation, writes = self._views.written(events)
        writes.extend(beside)
        if intents:
            writes.append(TableWrites(PAYMENT_INTENTS, list(intents)))
        try:
            return self._database.append(events, writes, generation)
        except CommitUnknown:
            found = self._position_of(events[0])
            if found is None:
                raise
            return found

    def _position_of(self, event: NewEvent) -> int | None:
        """Where this very event stands: the connection may have broken after the commit, before its answer came.

        Looked up under the writers' lock, so that an append that still runs on the server has ended first.
        """
        query = "SELECT position FROM events WHERE stream = ? AND version = ? AND body = ?"
        with self._database.write() as cursor:
            rows = cursor.execute(query, (event.stream, event.version, event.body))
        return rows[0][0] if rows else None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of a stream in order of version (falling when ``desc``), after ``gt`` and up to ``lte``."""
        query = f"SELECT {COLUMNS} FROM events WHERE stream = ?"
        parameters: list[object] = [str(originator_id)]
        for condition, bound in ((" AND version > ?", gt), (" AND version <= ?", lte)):
            if bound is not None:
                query += condition
                parameters.append(bound)
        query += " ORDER BY version DESC" if desc else " ORDER BY version"
        if limit is not None:
            query += " LIMIT ?"
            parameters.append(limit)
        with self._database.read() as cursor:
            rows = cursor.execute(query, parameters)
        return [StoredEvent(row[1], row[2], row[3], row[4].encode()) for row in rows]

    def read_stream(self, stream: str) -> list[RecordedEvent]:
        """All events of a stream, each at its place in the log."""
        query = f"SELECT {COLUMNS} FROM events WHERE stream = ? ORDER BY version"
        with self._database.read() as cursor:
            return [RecordedEvent(*row) for row in cursor.execute(query, (stream,))]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """At most ``limit`` events of the log in order of position, from ``start`` to ``stop``, of these types."""
        first = (start or 0) if inclusive_of_start or start is None else start + 1
        query = f"SELECT {COLUMNS} FROM events WHERE position >= ?"
        parameters: list[object] = [first]
        if stop is not None:
            query += " AND position <= ?"
            parameters.append(stop)
        if topics:
            query += f" AND type IN ({', '.join('?' * len(topics))})"
            parameters.extend(topics)
        with self._database.read() as cursor:
            rows = cursor.execute(f"{query} ORDER BY position LIMIT ?", [*parameters, limit])
        return [Notification(row[1], row[2], row[3], row[4].encode(), row[0]) for row in rows]

    def max_notification_id(self) -> int | None:
        """The position of the log's last event; ``None`` when the log is empty."""
        with self._database.read() as cursor:
            head: int | None = cursor.execute("SELECT max(position) FROM events")[0][0]
        return head

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Not offered: a subscription can miss its wake-up and then waits for ever; followers poll instead."""
        raise NotImplementedError("followers poll the log with select_notifications")


def read_log(cursor: Cursor, *, after: int = 0) -> Iterator[RecordedEvent]:
    """Streams the log in order of position; inside ``Database.snapshot``, in constant memory."""
    query = f"SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position"
    return (RecordedEvent(*row) for row in cursor.stream(query, (after,)))


def _new_event(event: StoredEvent) -> NewEvent:
    return NewEvent(str(event.originator_id), event.originator_version, event.topic, event.state.decode())


def _intent_row(order_id: int, intent: Intent) -> tuple[int, str, str, int, str]:
    return (order_id, intent.id, intent.client_secret, intent.amount, intent.currency)
