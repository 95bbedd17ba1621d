"""Fills databases in bulk: the ledger with rows that its own projections make, the CRUD peer with the same orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import psycopg
from sqlalchemy import insert
from sqlalchemy.orm import Session

from benchmarks import rows
from benchmarks.peers import crud as peer
from ledger.storage import Database, open_database
from ledger.storage.log import PAYMENT_INTENTS, NewEvent
from ledger.storage.tables import Row, TableWrites
from projections.live import writes_of
from projections.migrate import migrate
from projections.store import VIEWS

_BATCH = 2000

Share = tuple[int, int]
"""A user and how many orders are theirs."""


class Batch(NamedTuple):
    """What is appended as one: events, and the intents of the orders that they place, whose ids go on by one."""

    events: list[NewEvent]
    intents: list[Row]


def ledger(url: str, shares: Sequence[Share], progress: Callable[[int], None] = lambda _: None) -> None:
    """Creates a ledger with these users' orders, their ids rising from 1 in the order of the shares."""
    write(url, map(_placed, _batches(shares)), progress)


def write(url: str, batches: Iterable[Batch], progress: Callable[[int], None] = lambda _: None) -> None:
    """Creates a ledger with these events, the ids of its orders rising from 1; ``progress`` is told how many more."""
    database = open_database(url, timeout=60)
    migrate(database)
    for batch in batches:
        _append(database, batch)
        progress(len(batch.intents))
    database.close()
    if database.dialect == "postgres":
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")  # as autovacuum does in time


def crud(url: str, shares: Sequence[Share]) -> None:
    """Creates the CRUD peer's tables with the same orders."""
    engine = peer.make_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=1)
    peer.Base.metadata.create_all(engine)
    with Session(engine) as session:
        for batch in _batches(shares):
            session.execute(insert(peer.Order), [_crud_order(*each) for each in batch])
            session.execute(insert(peer.Line), [{"order_id": id, **rows.LINE} for id, _ in batch])
            entry = {"status": "pending", "date": rows.DATE}
            session.execute(
                insert(peer.StatusEntry), [{"order_id": id, "user_id": user, **entry} for id, user in batch]
            )
        session.commit()
    if engine.dialect.name == "postgresql":
        _restart_sequence(url)
    engine.dispose()


def _append(database: Database, batch: Batch) -> None:
    if batch.intents:
        ids = database.next_order_ids(len(batch.intents))
        assert list(ids) == [order_id for order_id, *_ in batch.intents]
    intents = TableWrites(PAYMENT_INTENTS, batch.intents)
    database.append(batch.events, [*writes_of(VIEWS, batch.events), intents])


def _placed(batch: Sequence[tuple[int, int]]) -> Batch:
    made = [rows.event(order_id, user) for order_id, user in batch]
    events = [NewEvent(event.stream, 1, rows.TYPE, event.body) for event in made]
    return Batch(events, [rows.intent_row(order_id) for order_id, _ in batch])


def _batches(shares: Sequence[Share]) -> Iterator[list[tuple[int, int]]]:
    batch: list[tuple[int, int]] = []
    order_id = 0
    for user, count in shares:
        for _ in range(count):
            order_id += 1
            batch.append((order_id, user))
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def _crud_order(order_id: int, user: int) -> dict[str, object]:
    return {
        "id": order_id,
        "user_id": user,
        "date": rows.DATE,
        "amount_in_cents": rows.AMOUNT,
        "client_secret": rows.intent(order_id).client_secret,
        "status": "pending",
    }


def _restart_sequence(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setval('orders_id_seq', (SELECT max(id) FROM orders))")
        connection.execute("VACUUM ANALYZE")
