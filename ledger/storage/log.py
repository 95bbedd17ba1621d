"""The log's own shapes: events as they are stored, and what is appended as one."""

from __future__ import annotations

from collections.abc import Sequence
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

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"position {self.position} ({self.type}, {self.stream} version {self.version})"


@dataclass(frozen=True, slots=True)
class Append:
    """What one caller appends: all or nothing. ``payment_intents`` are rows of that table, ``beside`` of others."""

    events: Sequence[NewEvent]
    payment_intents: Sequence[Row] = ()
    beside: Sequence[TableWrites] = ()


ANY_GENERATION = 0
"""Of appends that no view depends on; the generations of a ledger's views count from 1."""


class Written(NamedTuple):
    """What the views make of some events, by table, and the generation of the set of views that it was made for."""

    generation: int
    writes: list[TableWrites]


class InlineViews(Protocol):
    """The views that are written in the transaction of the events (the projections package has them)."""

    def written(self, events: Sequence[NewEvent]) -> Written:
        """What the views in force make of the events. May raise IntegrityError and StorageUnavailable."""

    def look_again(self) -> None:
        """Forgets which views are in force; called when the database says that they are others."""
