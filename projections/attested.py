"""The orders as they are served, in one hash that checkpoints carry: docs/audit.md has it to the byte.

It is made of the rows of the order view, and not of the events that the rows were made from: whoever replays the log
can tell whether the API answered what the log says. Events and rows are read by one statement, which sees one moment;
in it the view, being written with the events, is exactly at the log's end. From one size to a later one only the
orders change that have events in between. What such an order was before, the first of these events says.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from ledger.order import STREAM_PREFIX
from ledger.storage import Cursor, Database
from ledger.storage.log import RecordedEvent
from ledger.transparency.keys import encode_base64
from ledger.transparency.lthash import LtHash
from projections.digest import order_line
from projections.live import LiveSet, LiveViews
from projections.orders import VIEW
from projections.tree import lock_tree

ATTESTED_VIEW = VIEW.name
_LABEL = "orders"
_JOB = "attestation"
_ORDER_EVENTS = frozenset(VIEW.handlers)
_STATE = "SELECT size, orders, sums FROM log_attested WHERE id = 1"
_PUT = (
    "INSERT INTO log_attested (id, size, orders, sums) VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET size = excluded.size, orders = excluded.orders, sums = excluded.sums"
)
# An order's id is read off its stream with care: whatever somebody has put there must not stop the follower.
_DIGITS = len(STREAM_PREFIX) + 1
_ORDER_ID = (
    f"CASE WHEN substr(stream, 1, {len(STREAM_PREFIX)}) = '{STREAM_PREFIX}'"
    f" AND length(stream) BETWEEN {_DIGITS} AND {_DIGITS + 15} AND ltrim(substr(stream, {_DIGITS}), '0123456789') = ''"
    f" THEN CAST(substr(stream, {_DIGITS}) AS bigint) END"
)
_SERVED_SINCE = (
    "SELECT position, stream, page.version, type, body, order_id, status, served.version, document"
    " FROM (SELECT * FROM events WHERE position > ? ORDER BY position) AS page"
    f" LEFT JOIN {{orders}} AS served ON order_id = {_ORDER_ID} ORDER BY position"
)
_SERVED = (
    "SELECT (SELECT coalesce(max(position), 0) FROM events), order_id, status, version, document"
    " FROM (SELECT 1) AS one LEFT JOIN {orders} ON 1 = 1"
)


@dataclass
class Attested:
    """The orders that were served when the log had ``size`` events: how many, and their hash."""

    size: int
    orders: int
    hash: LtHash

    @property
    def line(self) -> str:
        """The extension line of a checkpoint of that size."""
        return attested_line(self.orders, self.hash)

    def save(self, cursor: Cursor) -> None:
        """Keeps it, to go on from there."""
        cursor.execute(_PUT, (self.size, self.orders, self.hash.sums))


def attested_line(orders: int, hashed: LtHash) -> str:
    """The extension line for so many orders with this hash."""
    return f"{_LABEL} {orders} {encode_base64(hashed.digest)}"


def is_attestation(line: str) -> bool:
    """Whether an extension line is one of these."""
    return line.startswith(f"{_LABEL} ")


def read_attested(cursor: Cursor) -> Attested | None:
    """What was attested last; ``None`` when nothing was."""
    rows = cursor.execute(_STATE)
    return Attested(rows[0][0], rows[0][1], LtHash(bytes(rows[0][2]))) if rows else None


def attest_since(cursor: Cursor, live: LiveSet, attested: Attested, after: int) -> list[RecordedEvent]:
    """Moves ``attested`` on to the log's end, and returns the events after a position that it came by."""
    events: list[RecordedEvent] = []
    seen: set[int] = set()
    for *recorded, order_id, status, version, document in cursor.stream(live.named(_SERVED_SINCE), (attested.size,)):
        event = RecordedEvent(*recorded)
        attested.size += 1
        if event.position > after:
            events.append(event)
        if order_id is None or order_id in seen or event.type not in _ORDER_EVENTS:
            continue
        seen.add(order_id)
        hashed = sha256(document.encode()).digest()
        former = _former(event)
        if former is None:
            attested.orders += 1
        else:
            attested.hash.remove(order_line(order_id, former, event.version - 1, hashed))
        attested.hash.add(order_line(order_id, status, version, hashed))
    return events


def attest_anew(views: LiveViews) -> None:
    """Attests to the whole view as it is, in a pass over it that holds up nobody.

    Raises AlreadyRunning when somebody is at it, StorageUnavailable.
    """
    with views.database.bulk(_JOB):
        with views.snapshot() as (cursor, live):
            attested = Attested(0, 0, LtHash())
            for size, order_id, status, version, document in cursor.stream(live.named(_SERVED)):
                attested.size = size
                if order_id is not None:
                    attested.orders += 1
                    attested.hash.add(order_line(order_id, status, version, sha256(document.encode()).digest()))
        with views.database.transaction() as cursor:
            lock_tree(cursor, views.database.dialect)
            latest = read_attested(cursor)
            if latest is None or latest.size < attested.size:
                attested.save(cursor)


def forget_attested(database: Database) -> None:
    """Lets the follower attest to the whole view anew: it was made again, and may have been wrong before."""
    # A pass that is under way may have begun on the view as it was, and must not be the last word.
    with database.bulk(_JOB, wait=True), database.transaction() as cursor:
        lock_tree(cursor, database.dialect)
        cursor.execute("DELETE FROM log_attested")


def _former(event: RecordedEvent) -> str | None:
    """The status that the order had before this event; ``None`` before its first."""
    if event.type == "OrderCreated":
        return None
    try:
        told = _told(event.body)
    except MsgspecError:  # no command writes such a body; what comes of it will not be what a replay comes to
        return ""
    return told.previous or told.order_status


class _Told(Struct):
    """How a StatusChanged, and a PaymentRecorded, say what status the order had."""

    previous: str = ""
    order_status: str = ""


_told = Decoder(_Told).decode
