"""The log that is rebuilt from: for each order its creation and two moves, of about 300 bytes each, orders mixed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import rows
from ledger.storage import Database, open_database
from ledger.storage.log import PAYMENT_INTENTS, NewEvent
from ledger.storage.tables import TableWrites
from projections.live import writes_of
from projections.migrate import migrate
from projections.store import VIEWS

EVENTS_OF_ORDER = 3
_BATCH = 2000
_USERS = 5000
_MOVES = (("pending", "order_paid"), ("order_paid", "shipped"))
_MOVED = (
    '{"timestamp":"2026-01-01T12:00:00.000000Z","actor":{"user":1000001,"role":"staff"},'
    '"cause":{"request_id":"%032x","idempotency_key":"%032x","request_hash":"%064x"},"previous":"%s","status":"%s"}'
)


def user_of(order_id: int) -> int:
    """Whose order it is."""
    return order_id % _USERS + 1


def log(events: int) -> Iterator[list[NewEvent]]:
    """So many events in batches: orders are made some thousands before they are moved, as in a shop with customers."""
    orders = -(-events // EVENTS_OF_ORDER)
    batches = [range(start, min(start + _BATCH, orders + 1)) for start in range(1, orders + 1, _BATCH)]
    left = events
    for place in range(len(batches) + len(_MOVES)):
        batch = [_created(order_id) for order_id in _at(batches, place)]
        for version, (previous, status) in enumerate(_MOVES, 2):
            batch += [_moved(order_id, version, previous, status) for order_id in _at(batches, place - version + 1)]
        yield batch[:left]
        left -= len(batch[:left])


def fill(url: str, events: int) -> None:
    """Makes a ledger of the log, its views and its payment intents."""
    database = open_database(url, timeout=60)
    migrate(database)
    for batch in log(events):
        made = [int(event.stream.removeprefix("order-")) for event in batch if event.version == 1]
        _append(database, batch, made)
    database.close()


def _append(database: Database, batch: list[NewEvent], made: list[int]) -> None:
    if made:
        assert list(database.next_order_ids(len(made))) == made
    intents = TableWrites(PAYMENT_INTENTS, [rows.intent_row(order_id) for order_id in made])
    database.append(batch, [*writes_of(VIEWS, batch), intents])


def _at(batches: list[range], place: int) -> range:
    return batches[place] if 0 <= place < len(batches) else range(0)


def _created(order_id: int) -> NewEvent:
    stream, body = rows.event(order_id, user_of(order_id))
    return NewEvent(stream, 1, rows.TYPE, body)


def _moved(order_id: int, version: int, previous: str, status: str) -> NewEvent:
    number = order_id * 8 + version
    return NewEvent(f"order-{order_id}", version, "StatusChanged", _MOVED % (number, number, number, previous, status))
