"""An order's history: every event of it, what it changed, and how the order stood then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any

from msgspec import convert
from msgspec.json import decode

from ledger.actor import Actor
from ledger.errors import UnreadableEvent, told_whole
from ledger.events import EVENT_TYPES, UNREADABLE, OrderCreated, upcast
from ledger.order import order_stream
from ledger.payments.payment import Payment
from ledger.statuses import Status
from ledger.storage import Database
from ledger.storage.log import COLUMNS, RecordedEvent
from projections.bodies import owner_of

_TYPES = {type.TOPIC: type for type in EVENT_TYPES}
_COMMON = frozenset({"timestamp", "actor", "cause"})
_UNTOUCHED: Mapping[str, Any] = {name: value for name, value in Payment().totals(0).items() if name != "records"}


@dataclass(frozen=True, slots=True)
class Change:
    """What something was before an event and is since; ``previous`` is ``None`` for what was not there."""

    previous: Any
    current: Any


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An event at its place in the log, and the order's ``state`` with it.

    ``state`` maps ``status`` and the totals of the payment (see PaymentTotals) to their values, ``changes`` those of
    them that the event changed. ``data`` is what the event says beside when, who and why.
    """

    position: int
    version: int
    type: str
    timestamp: str
    actor: Mapping[str, Any]
    cause: Mapping[str, Any]
    data: Mapping[str, Any]
    changes: Mapping[str, Change]
    state: Mapping[str, Any]

    @property
    def status(self) -> Status:
        """The order's status then."""
        return Status(self.state["status"])


class HistoryReads:
    """The query of an order's history. It may raise StorageUnavailable and UnreadableEvent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, order_id: int, reader: Actor) -> list[HistoryEntry] | None:
        """Every event of the order, oldest first; ``None`` when there is none that this reader may see."""
        query = f"SELECT {COLUMNS} FROM events WHERE stream = ? ORDER BY version"
        with self._database.read() as cursor:
            rows = cursor.execute(query, (order_stream(order_id),))
        events = [RecordedEvent(*row) for row in rows]
        if not events or not reader.may_see(owner_of(events[0])):
            return None
        return entries(events)


def entries(events: Sequence[RecordedEvent]) -> list[HistoryEntry]:
    """The history that these events of one order tell, from its beginning.

    Raises UnreadableEvent for the first that is not what its type says, or before which one is missing.
    """
    history: list[HistoryEntry] = []
    state: Mapping[str, Any] = {**_UNTOUCHED, "status": None}
    for version, event in enumerate(events, 1):
        if event.version != version:
            raise UnreadableEvent(f"Before the event at {event.place} version {version} is missing.")
        try:
            history.append(_entry(event, state))
        except UNREADABLE as error:
            raise UnreadableEvent(f"The event at {event.place} can't be read: {told_whole(error)}.") from error
        state = history[-1].state
    return history


def _entry(event: RecordedEvent, before: Mapping[str, Any]) -> HistoryEntry:
    body = _body(event)
    state = _after(before, event.type, body)
    return HistoryEntry(
        position=event.position,
        version=event.version,
        type=event.type,
        timestamp=body["timestamp"],
        actor=body["actor"],
        cause=body["cause"],
        data={name: value for name, value in body.items() if name not in _COMMON},
        changes={name: Change(before[name], value) for name, value in state.items() if value != before[name]},
        state=state,
    )


def _body(event: RecordedEvent) -> dict[str, Any]:
    """What the type names, in its present shape. Raises one of UNREADABLE where something is not of its type."""
    event_type = _TYPES[event.type]
    if (event.version == 1) != (event_type is OrderCreated):
        raise ValueError("an order begins with OrderCreated, and with nothing else")
    body = upcast(event_type, decode(event.body))
    convert({**body, "originator_id": event.stream, "originator_version": event.version}, event_type)
    return {each.name: body[each.name] for each in fields(event_type) if each.name in body}


def as_of(history: Sequence[HistoryEntry], moment: str) -> HistoryEntry | None:
    """The last entry of the longest beginning that had happened by then (RFC 3339 as events write it), if any.

    Servers' clocks differ: an event may be dated before the one that it follows, and has not happened without that.
    """
    happened = list(takewhile(lambda entry: entry.timestamp <= moment, history))
    return happened[-1] if happened else None


def _after(state: Mapping[str, Any], event_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
    match event_type:
        case "OrderCreated":
            return {**state, "status": Status.PENDING.value}
        case "StatusChanged":
            return {**state, "status": Status(body["status"]).value}
        case _:
            return {name: body["totals"].get(name, value) for name, value in state.items()}
