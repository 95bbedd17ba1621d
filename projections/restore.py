"""An exported log into an empty ledger: every position and byte as it was, and the views made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice

from eventsourcing.persistence import IntegrityError

from ledger.errors import NotRestorable
from ledger.events import EVENT_TYPES, UNREADABLE
from ledger.storage import Cursor, Database
from ledger.storage.log import COLUMNS, PAYMENT_INTENTS, RecordedEvent
from ledger.storage.schema import advance_order_ids
from ledger.storage.tables import Row
from ledger.transparency.chain import Chain
from ledger.transparency.checkpoints import Checkpoint
from projections.live import LiveSet, live_set, writes_of
from projections.store import VIEWS

_BATCH = 1000
_KNOWN = frozenset(type.TOPIC for type in EVENT_TYPES)
_TABLES = ("events", "payment_intents", "order_reservations", "log_tiles", "log_checkpoints")
"""What an empty ledger has no row in: the others are made from these, or of no meaning without them."""


def restore(database: Database, events: Iterable[RecordedEvent], checkpoint: Checkpoint | None = None) -> int:
    """Writes the events with their views and payment intents, all or nothing; returns how many.

    Client secrets are in no log: they are left empty. Raises NotRestorable when the ledger is not empty, when an event
    has not the next place or can't be read, or when the log does not lead to the checkpoint.
    """
    chain = Chain()
    with database.write() as cursor:
        _refuse_unless_empty(cursor)
        live, source = live_set(cursor, VIEWS), iter(events)
        while batch := list(islice(source, _BATCH)):
            for event in batch:
                _check(event, chain, checkpoint)
            _write(cursor, live, batch)
        if checkpoint is not None and chain.size < checkpoint.size:
            raise NotRestorable(f"The log ends at {chain.size}; its checkpoint is of {checkpoint.size} events.")
        advance_order_ids(cursor, database.dialect)
    return chain.size


def _refuse_unless_empty(cursor: Cursor) -> None:
    for table in _TABLES:
        if cursor.execute(f"SELECT 1 FROM {table} LIMIT 1"):
            raise NotRestorable(f"The ledger is not empty: there are rows in {table}.")


def _check(event: RecordedEvent, chain: Chain, checkpoint: Checkpoint | None) -> None:
    for fault in chain.add(event):
        raise NotRestorable(f"{fault.capitalize()}.")
    if event.type not in _KNOWN:
        raise NotRestorable(f"Position {event.position}: this release knows no event type {event.type!r}.")
    if checkpoint is not None and chain.size == checkpoint.size and chain.root() != checkpoint.root:
        raise NotRestorable(f"The first {checkpoint.size} events are not those of the checkpoint: its root is another.")


def _write(cursor: Cursor, live: LiveSet, events: Sequence[RecordedEvent]) -> None:
    try:
        writes = writes_of(live.views, events)
        intents = [_intent(event) for event in events if event.type == "OrderCreated"]
        cursor.executemany(f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?)", events)
        for written in writes:
            cursor.executemany(written.table.insert_sql(), written.inserts)
            for columns, updates in written.updates.items():
                cursor.executemany(written.table.update_sql(columns), updates)
        cursor.executemany(PAYMENT_INTENTS.insert_sql(), intents)
    except (*UNREADABLE, IntegrityError) as error:
        places = f"{events[0].position} to {events[-1].position}"
        raise NotRestorable(f"An event of positions {places} is not what its type says: {error!r}") from error


def _intent(event: RecordedEvent) -> Row:
    body = json.loads(event.body)
    return body["order_id"], body["payment_intent_id"], "", body["amount_in_cents"], body["currency"]
