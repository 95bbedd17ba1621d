"""The bodies of events as views see them: of each type, the members that some view needs.

The same shapes serve inline writes, rebuilds and checks. A decoder goes straight from the stored text to a struct; a
body of an older ``class_version`` goes the long way, through ``upcast``. A member that a new view needs is added here.
"""

from __future__ import annotations

import json
from typing import Literal, Union, cast

from msgspec import MsgspecError, Struct, convert, defstruct
from msgspec.json import Decoder, decode

from ledger.events import EVENT_TYPES, UNREADABLE, Event, upcast
from ledger.storage.log import Event as StoredEvent
from projections.view import EventFacts

_NOBODY = -1


class Actor(Struct, gc=False):
    """Who caused an event."""

    user: int | None


class Cause(Struct, gc=False):
    """What led to an event, as far as it may come again; see ``ledger.actor.Cause``."""

    idempotency_key: str | None = None
    request_hash: str | None = None
    stripe_event_id: str | None = None
    part_of_version: int | None = None


class Line(Struct, gc=False):
    """A line of an order."""

    product_id: int
    name: str
    quantity: int
    price_in_cents: int


class Totals(Struct, gc=False):
    """What all notices of a payment come to."""

    records: int
    phase: str | None
    received_in_cents: int
    refunded_in_cents: int
    open_disputes: int
    lost_disputes: int
    lost_in_cents: int
    anomalies: int


class _Versioned(Struct, gc=False, kw_only=True):
    """A body of a type's version 1; a body of a later one says which it is."""

    class_version: Literal[1] = 1


class OrderCreated(_Versioned, gc=False, kw_only=True):
    """See ``ledger.events``; likewise below."""

    timestamp: str
    actor: Actor
    cause: Cause
    order_id: int
    user_id: int
    lines: list[Line]
    amount_in_cents: int
    currency: str
    payment_intent_id: str


class StatusChanged(_Versioned, gc=False, kw_only=True):
    actor: Actor
    cause: Cause
    status: str


class PaymentRecorded(Struct, gc=False, kw_only=True):
    class_version: Literal[2]
    timestamp: str
    actor: Actor
    cause: Cause
    order_status: str
    totals: Totals


class LeadStatusesArranged(_Versioned, gc=False, kw_only=True):
    user_id: int
    arrangement: list[int]


_SHAPES: tuple[type[Struct], ...] = (OrderCreated, StatusChanged, PaymentRecorded, LeadStatusesArranged)


class FactsOf:
    """Makes the facts of one event type of its stored bodies. Raises ValueError for what is no body of that type."""

    def __init__(self, event_type: type[Event], shape: type[Struct]) -> None:
        self._event_type = event_type
        self._shape = shape
        self._present = getattr(event_type, "class_version", 1)
        self._decode = Decoder(shape).decode
        facts = defstruct(
            f"{event_type.__name__}Facts",
            [("body", shape)],
            bases=(EventFacts,),
            tag=event_type.TOPIC,
            namespace={"type": event_type.TOPIC},
            frozen=True,
            gc=False,
        )
        self.kind = cast("type[EventFacts]", facts)

    def __call__(self, stream: str, version: int, body: str) -> EventFacts:
        """The facts, with the body in its type's present shape."""
        try:
            decoded = self._decode(body)
        except (MsgspecError, RecursionError):
            decoded = self._upcast(body)
        return self.kind(stream, version, decoded)

    def _upcast(self, body: str) -> Struct:
        try:
            state = json.loads(body)
            json.dumps(state, ensure_ascii=False).encode()  # a ValueError for half a character, which can't be stored
        except RecursionError as error:
            raise ValueError(f"the body of {self._event_type.TOPIC} is nested too deeply") from error
        if not isinstance(state, dict):
            raise ValueError(f"the body of {self._event_type.TOPIC} is no JSON object")  # noqa: TRY004
        try:
            return convert({**upcast(self._event_type, state), "class_version": self._present}, self._shape)
        except (MsgspecError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the body is none of {self._event_type.TOPIC}: {error}") from error


_FACTS = {event_type.TOPIC: FactsOf(event_type, shape) for event_type, shape in zip(EVENT_TYPES, _SHAPES, strict=True)}
_LINES: Decoder[EventFacts] = Decoder(Union[tuple(each.kind for each in _FACTS.values())])  # noqa: UP007  made, not written


def facts_of(event: StoredEvent) -> EventFacts:
    """The event with its body decoded, in its type's present shape. Raises ValueError when it is none of that type."""
    return _FACTS[event.type](event.stream, event.version, event.body)


def owner_of(created: StoredEvent) -> int:
    """Whose order its first event makes it, or nobody's where that can't be read: it is for who may see all orders."""
    try:
        owner = decode(created.body)["user_id"]
    except UNREADABLE:
        return _NOBODY
    return owner if isinstance(owner, int) else _NOBODY


def facts_of_lines(lines: str) -> list[EventFacts] | None:
    """Many events at once, each a line ``[type, stream, version, body]``; ``None`` when there are some among them that
    have to be looked at one by one, as those of older versions.
    """
    try:
        return _LINES.decode_lines(lines)
    except (MsgspecError, RecursionError):
        return None
