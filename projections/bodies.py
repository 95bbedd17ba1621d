"""The bodies of events as views see them: of each type, the members that some view needs.

One decoder serves inline writes, rebuilds and checks. It goes straight from the stored text to a struct; a body of an
older ``class_version`` goes the long way, through ``upcast``. A member that a new view needs is added here.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from ledger.events import EVENT_TYPES, Event, upcast


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
    anomalies: int


class _Versioned(Struct, gc=False, kw_only=True):
    class_version: int = 1


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


class PaymentRecorded(_Versioned, gc=False, kw_only=True):
    timestamp: str
    actor: Actor
    cause: Cause
    order_status: str
    totals: Totals


class LeadStatusesArranged(_Versioned, gc=False, kw_only=True):
    user_id: int
    arrangement: list[int]


class BodyDecoder:
    """Decodes the bodies of one event type. Raises ValueError for what is no body of that type."""

    def __init__(self, event_type: type[Event], shape: type[_Versioned]) -> None:
        self._event_type = event_type
        self._shape = shape
        self._present = getattr(event_type, "class_version", 1)
        self._decode = Decoder(shape).decode

    def __call__(self, body: str) -> _Versioned:
        """The body in its type's present shape."""
        try:
            decoded = self._decode(body)
        except msgspec.MsgspecError:
            return self._upcast(body)
        return decoded if decoded.class_version == self._present else self._upcast(body)

    def _upcast(self, body: str) -> _Versioned:
        state = json.loads(body)
        if not isinstance(state, dict):
            raise ValueError(f"the body of {self._event_type.TOPIC} is no JSON object")  # noqa: TRY004
        if state.get("class_version", 1) not in range(1, self._present + 1):
            raise ValueError(f"{self._event_type.TOPIC} has a version that this release does not know")
        try:
            return self._converted(upcast(self._event_type, state))
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the body is none of {self._event_type.TOPIC}: {error}") from error

    def _converted(self, state: dict[str, Any]) -> _Versioned:
        converted = msgspec.convert(state, self._shape)
        converted.class_version = self._present
        return converted


_SHAPES: tuple[type[_Versioned], ...] = (OrderCreated, StatusChanged, PaymentRecorded, LeadStatusesArranged)
DECODERS = {
    event_type.TOPIC: BodyDecoder(event_type, shape) for event_type, shape in zip(EVENT_TYPES, _SHAPES, strict=True)
}
"""The decoder of each event type, by its name."""
