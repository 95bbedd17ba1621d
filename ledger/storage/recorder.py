"""The write path: appends events and everything that must be true together with them, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent, Subscription

from ledger.payments.gateway import Intent
from ledger.storage.database import Cursor, Database

_COLUMNS = "position, stream, version, type, body"


class RecordedEvent(NamedTuple):
    """An event at its place in the log; ``body`` is the stored JSON, to the byte."""

    position: int
    stream: str
    version: int
    type: str
    body: str


class InlineViews(Protocol):
    """Views that are kept in the transaction of the events (the projections package implements this)."""

    def apply(self, cursor: Cursor, events: Sequence[RecordedEvent]) -> None:
        """Writes what the events change; a violated unique key fails the whole append."""


class LogRecorder(ApplicationRecorder):
    """The event store on one table, for any Database.

    Positions are drawn from the head of the log while holding the writers' lock, not from a sequence: they are
    contiguous from 1, and commit in order, so whoever follows the log never misses one.
    """

    def __init__(self, database: Database, inline: InlineViews) -> None:
        self._database = database
        self._inline = inline

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, intent: tuple[int, Intent] | None = None, **_: Any
    ) -> Sequence[int] | None:
        """Appends the events, the views they change and, for a new order, (order id, its payment intent).

        Returns their positions. Raises IntegrityError when a stream has that version already or a view's unique key
        is violated; then nothing was written.
        """
        if not stored_events:
            return None
        with self._database.write() as cursor:
            first = self._head(cursor) + 1
            events = [_recorded(first + index, event) for index, event in enumerate(stored_events)]
            cursor.executemany(f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", events)
            if intent is not None:
                _keep_intent(cursor, *intent)
            self._inline.apply(cursor, events)
        return list(range(first, first + len(events)))

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
        query = f"SELECT {_COLUMNS} FROM events WHERE stream = ?"
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
        query = f"SELECT {_COLUMNS} FROM events WHERE stream = ? ORDER BY version"
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
        query = f"SELECT {_COLUMNS} FROM events WHERE position >= ?"
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
            return self._head(cursor) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Not offered: a subscription can miss its wake-up and then waits for ever; followers poll instead."""
        raise NotImplementedError("followers poll the log with select_notifications")

    @staticmethod
    def _head(cursor: Cursor) -> int:
        return int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])


def read_log(cursor: Cursor, *, after: int = 0) -> Iterator[RecordedEvent]:
    """Streams the log in order of position; inside ``Database.snapshot``, in constant memory."""
    query = f"SELECT {_COLUMNS} FROM events WHERE position > ? ORDER BY position"
    return (RecordedEvent(*row) for row in cursor.stream(query, (after,)))


def _recorded(position: int, event: StoredEvent) -> RecordedEvent:
    return RecordedEvent(
        position, str(event.originator_id), event.originator_version, event.topic, event.state.decode()
    )


def _keep_intent(cursor: Cursor, order_id: int, intent: Intent) -> None:
    cursor.execute(
        "INSERT INTO payment_intents (order_id, intent_id, client_secret, amount, currency) VALUES (?, ?, ?, ?, ?)",
        (order_id, intent.id, intent.client_secret, intent.amount, intent.currency),
    )
