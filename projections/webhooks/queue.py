"""The queue of webhooks: a row for each event that an endpoint has not been told of yet.

Rows and the endpoint's position commit together, so that no event is left out or queued twice. A row is claimed by
moving its next attempt into the future: whoever dies while sending has only delayed it. Of an order only the first row
that waits can be claimed, so that its events arrive in order; what was given up does not hold up the others. An
endpoint that somebody removes meanwhile has nothing to be noted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.clock import rfc3339
from ledger.errors import UnknownEndpoint
from ledger.storage import Cursor, Database
from ledger.storage.log import RecordedEvent
from ledger.storage.tables import Row, marks
from projections.poison import UNFOLDABLE
from projections.webhooks.endpoints import hold, hold_if_free
from projections.webhooks.payloads import TYPES, payload

_PUT = (
    "INSERT INTO webhook_deliveries (endpoint, position, stream, attempts, next_at, dead, error) VALUES (?, ?, ?, 0,"
    " coalesce((SELECT max(next_at) FROM webhook_deliveries"
    " WHERE endpoint = ? AND stream = ? AND dead = 0 AND error <> ''), ?), 0, '')"
)
"""What comes to wait behind one that has failed is not looked at before that is tried again: DUE would pass over it
each time, and over all of those of an endpoint that is down."""

BATCH = 500
MOST_WAITING = 10_000
"""Rows that may wait for one endpoint: beyond it the log waits, which forgets nothing."""

LEASE = timedelta(seconds=60)
"""Longer than sending takes: after it whoever has claimed a row is taken to be dead."""

SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 22 * 3600)
)
"""Pauses between attempts: somewhat more than three days in all (the specification's own, but for the last)."""

DUE = (
    "SELECT d.position, d.attempts, e.url, e.secret, e.former_secret, e.former_until"
    " FROM webhook_deliveries AS d JOIN webhook_endpoints AS e ON e.id = d.endpoint"
    " WHERE d.endpoint = ? AND d.dead = 0 AND d.next_at <= ? AND e.disabled = ''"
    " AND d.position = (SELECT min(f.position) FROM webhook_deliveries AS f"
    " WHERE f.endpoint = d.endpoint AND f.stream = d.stream AND f.dead = 0)"
    " ORDER BY d.next_at, d.position LIMIT ?"
)
"""``min`` and not ``NOT EXISTS``: PostgreSQL makes a join of that, and compares each with each (2 s for 8,500 rows)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook to be sent before ``until``. ``secrets`` sign it; ``attempts`` is this one's number."""

    endpoint: str
    position: int
    stream: str
    attempts: int
    url: str
    secrets: tuple[str, ...]
    body: str
    until: datetime


class Queue:
    """The queries of delivery. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database, *, jitter: Callable[[], float]) -> None:
        self._database = database
        self._jitter = jitter
        # As bytes: SQLite has any for text, and those that are none would keep the whole claim from being read.
        text = "CAST(body AS BLOB)" if database.dialect == "sqlite" else "convert_to(body, 'UTF8')"
        self._event = f"SELECT stream, version, type, {text} FROM events WHERE position = ?"

    def endpoints(self) -> list[str]:
        """The ids of those that something may be sent to."""
        with self._database.read() as cursor:
            rows = cursor.execute("SELECT id FROM webhook_endpoints WHERE disabled = '' ORDER BY id")
        return [row[0] for row in rows]

    def behind(self) -> list[str]:
        """The ids of those for whom there are events to queue, and room."""
        with self._database.read() as cursor:
            rows = cursor.execute(
                "SELECT id FROM webhook_endpoints WHERE disabled = ''"
                " AND position < (SELECT coalesce(max(position), 0) FROM events)"
                " AND (SELECT count(*) FROM webhook_deliveries WHERE endpoint = id AND dead = 0) < ? ORDER BY id",
                (MOST_WAITING,),
            )
        return [row[0] for row in rows]

    def fill(self, endpoint: str, now: datetime) -> bool:
        """Queues the next events for an endpoint; whether there may be more to queue.

        Who holds the endpoint is at work on it, and nobody waits for that: nor to claim, below.
        """
        with self._database.transaction() as cursor:
            held = hold_if_free(cursor, self._database, endpoint)
            if held is None:
                return False
            types, position = held
            [(waiting,)] = cursor.execute(
                "SELECT count(*) FROM webhook_deliveries WHERE endpoint = ? AND dead = 0", (endpoint,)
            )
            limit = min(BATCH, MOST_WAITING - int(waiting))
            if limit <= 0:
                return False
            events = cursor.execute(
                "SELECT position, stream, type FROM events WHERE position > ? ORDER BY position LIMIT ?",
                (position, limit),
            )
            if not events:
                return False
            asked, moment = json.loads(types), rfc3339(now)
            cursor.executemany(
                _PUT,
                [
                    (endpoint, place, stream, endpoint, stream, moment)
                    for place, stream, kind in events
                    if kind in TYPES and (not asked or TYPES[kind] in asked)
                ],
            )
            cursor.execute("UPDATE webhook_endpoints SET position = ? WHERE id = ?", (events[-1][0], endpoint))
            return len(events) == limit

    def claim(self, endpoint: str, now: datetime, limit: int) -> list[Delivery]:
        """Takes at most so many of an endpoint's that are due, for as long as a lease lasts."""
        with self._database.read() as cursor:
            if not cursor.execute(DUE, (endpoint, rfc3339(now), limit)):
                return []  # as mostly: nothing is written, and nobody kept from writing
        with self._database.transaction() as cursor:
            if hold_if_free(cursor, self._database, endpoint) is None:
                return []
            due = cursor.execute(DUE, (endpoint, rfc3339(now), limit))
            taken = [self._take(cursor, endpoint, row, now) for row in due]
            return [delivery for delivery in taken if delivery is not None]

    def delivered(self, endpoint: str, deliveries: Sequence[Delivery]) -> None:
        """They have arrived at the endpoint: their rows are not needed any more."""
        positions = [delivery.position for delivery in deliveries]
        with suppress(UnknownEndpoint), self._database.transaction() as cursor:
            hold(cursor, self._database, endpoint)
            deleted = f"DELETE FROM webhook_deliveries WHERE endpoint = ? AND position IN ({marks(positions)})"
            gone = {row[0] for row in cursor.execute(f"{deleted} RETURNING position", (endpoint, *positions))}
            counted = "UPDATE webhook_endpoints SET delivered = delivered + ? WHERE id = ?"
            cursor.execute(counted, (len(gone), endpoint))
            retried = [each.stream for each in deliveries if each.attempts > 1 and each.position in gone]
            if retried:  # what has come to wait behind them meanwhile waits for nothing any more
                cursor.execute(
                    "UPDATE webhook_deliveries SET next_at = ''"
                    f" WHERE endpoint = ? AND stream IN ({marks(retried)}) AND dead = 0",
                    (endpoint, *retried),
                )

    def failed(self, delivery: Delivery, error: str, now: datetime) -> bool:
        """It has not: when to try again, or that it is given up, which is answered."""
        dead = delivery.attempts > len(SCHEDULE)
        pause = timedelta(0) if dead else SCHEDULE[delivery.attempts - 1] * (1 + self._jitter())
        next_at = rfc3339(now + pause)
        with suppress(UnknownEndpoint), self._database.transaction() as cursor:
            hold(cursor, self._database, delivery.endpoint)
            ours = cursor.execute(
                "UPDATE webhook_deliveries SET next_at = ?, dead = ?, error = ?"
                " WHERE endpoint = ? AND position = ? AND attempts = ? RETURNING 1",
                (next_at, int(dead), error[:200], delivery.endpoint, delivery.position, delivery.attempts),
            )
            if ours and not dead:  # what waits behind it can't be sent earlier, and need not be looked at
                cursor.execute(
                    "UPDATE webhook_deliveries SET next_at = ? WHERE endpoint = ? AND stream = ? AND position > ?"
                    " AND dead = 0",
                    (next_at, delivery.endpoint, delivery.stream, delivery.position),
                )
            return dead and bool(ours)
        return False

    def gone(self, delivery: Delivery) -> bool:
        """The endpoint says that it is not there any more (410): nothing is sent to it until somebody enables it.

        Whether that is new. What was sent has lost no attempt by it.
        """
        with suppress(UnknownEndpoint), self._database.transaction() as cursor:
            hold(cursor, self._database, delivery.endpoint)
            cursor.execute(
                "UPDATE webhook_deliveries SET attempts = attempts - 1, next_at = ''"
                " WHERE endpoint = ? AND position = ? AND attempts = ? AND dead = 0",
                (delivery.endpoint, delivery.position, delivery.attempts),
            )
            disabled = "UPDATE webhook_endpoints SET disabled = ? WHERE id = ? AND disabled = '' RETURNING 1"
            return bool(cursor.execute(disabled, ("it answered 410 Gone", delivery.endpoint)))
        return False

    def _take(self, cursor: Cursor, endpoint: str, row: Row, now: datetime) -> Delivery | None:
        """The delivery, unless its event is not there any more as it was."""
        position, attempts, url, secret, former, former_until = row
        cursor.execute(
            "UPDATE webhook_deliveries SET attempts = ?, next_at = ? WHERE endpoint = ? AND position = ?",
            (attempts + 1, rfc3339(now + LEASE), endpoint, position),
        )
        try:
            [(stream, version, kind, text)] = cursor.execute(self._event, (position,))
            body = payload(RecordedEvent(position, stream, version, kind, text.decode()))
        except UNFOLDABLE:  # somebody has tampered with it, or with its row: proofs and `check` say so, too
            cursor.execute(
                "UPDATE webhook_deliveries SET dead = 1, error = 'the event can not be read'"
                " WHERE endpoint = ? AND position = ?",
                (endpoint, position),
            )
            return None
        secrets = (secret, former) if former_until > rfc3339(now) else (secret,)
        return Delivery(endpoint, position, stream, attempts + 1, url, secrets, body, now + LEASE)
