"""The log's own shapes: events as they are stored, and what is appended as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ledger.storage.tables import Row, Table, TableWrites

COLUMNS = "position, stream, version, type, body"

PAYMENT_INTENTS = Table(
    "payment_intents",
    {
        "order_id": "bigint",
        "intent_id": "text",
        "client_secret": "text",
        "amount": "bigint",
        "currency": "text",
    },
    unique=(("intent_id",),),
)


class Event(Protocol):
    """An event wherever it stands; ``body`` is the stored JSON, to the byte."""

    @property
    def stream(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def body(self) -> str: ...


class NewEvent(NamedTuple):
    """An event that has no place in the log yet."""

    stream: str
    version: int
    type: str
    body: str


class RecordedEvent(NamedTuple):
    """An event at its place in the log."""

    position: int
    stream: str
    version: int
    type: str
    body: str


@dataclass(frozen=True, slots=True)
class Append:
    """What one caller appends: all or nothing. ``payment_intents`` are rows of that table, ``beside`` of others."""

    events: Sequence[NewEvent]
    payment_intents: Sequence[Row] = ()
    beside: Sequence[TableWrites] = ()


InlineWrites = Callable[[Sequence[NewEvent]], list[TableWrites]]
"""What is to be written in the transaction of these events, by table: the views (the projections package has them)."""
