"""The event types. Their stored form is a promise: see docs/formats.md and the golden bytes under tests.

An event's attributes are JSON primitives, so that its stored body is plain JSON with the same names and nothing else.
To change an event type, raise its ``class_version`` and add ``upcast_vN_vN+1(state)``; stored bytes are never edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from eventsourcing.utils import register_topic
from msgspec import MsgspecError

from ledger.actor import ActorRecord, CauseRecord
from ledger.cart import LineRecord
from ledger.payments.gateway import PaymentKind, PaymentNotice, Refund
from ledger.payments.payment import PaymentTotals


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event says: its stream and version there, when (RFC 3339, UTC), who and why."""

    TOPIC: ClassVar[str]

    originator_id: str
    originator_version: int
    timestamp: str
    actor: ActorRecord
    cause: CauseRecord


@dataclass(frozen=True, kw_only=True)
class OrderCreated(Event):
    """An order was placed; always version 1 of its stream ``order-<id>``."""

    TOPIC = "OrderCreated"

    order_id: int
    user_id: int
    lines: list[LineRecord]
    amount_in_cents: int
    currency: str
    payment_intent_id: str


@dataclass(frozen=True, kw_only=True)
class StatusChanged(Event):
    """An order moved from one status to another."""

    TOPIC = "StatusChanged"

    previous: str
    status: str


@dataclass(frozen=True, kw_only=True)
class PaymentRecorded(Event):
    """Something happened to an order's payment: the notice, and what all notices come to with it.

    ``anomaly`` says what is wrong with it (``None``: nothing), ``order_status`` is the order's when it was recorded.
    """

    TOPIC = "PaymentRecorded"
    class_version = 2

    kind: str
    payment_intent_id: str
    amount_in_cents: int
    currency: str
    occurred_at: str
    reference: str | None
    detail: str | None
    anomaly: str | None
    order_status: str
    totals: PaymentTotals

    @property
    def notice(self) -> PaymentNotice:
        """The notice that was recorded."""
        return PaymentNotice(
            kind=PaymentKind(self.kind),
            intent_id=self.payment_intent_id,
            amount=self.amount_in_cents,
            currency=self.currency,
            occurred_at=self.occurred_at,
            reference=self.reference,
            detail=self.detail,
        )

    @property
    def refund(self) -> Refund:
        """The refund that it tells of, as it was then."""
        return Refund(
            id=str(self.reference),
            intent_id=self.payment_intent_id,
            amount=self.amount_in_cents,
            currency=self.currency,
            status=str(self.detail),
        )

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Version 1 counted lost disputes and not what they took: nothing is taken for lost, so that none is missed."""
        state["totals"] = {**state["totals"], "lost_in_cents": 0}


@dataclass(frozen=True, kw_only=True)
class LeadStatusesArranged(Event):
    """A user's lead statuses were put in a new order: ``arrangement`` lists all their ids, first place first."""

    TOPIC = "LeadStatusesArranged"

    user_id: int
    arrangement: list[int]


ORDER_EVENTS: tuple[type[Event], ...] = (OrderCreated, StatusChanged, PaymentRecorded)
EVENT_TYPES: tuple[type[Event], ...] = (*ORDER_EVENTS, LeadStatusesArranged)

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, MsgspecError)
"""How bodies that are not what their type says show themselves to whoever reads them."""

for _event_type in EVENT_TYPES:
    register_topic(_event_type.TOPIC, _event_type)


def upcast(event_type: type[Event], body: dict[str, Any]) -> dict[str, Any]:
    """Brings a decoded body of any version to the type's present one, in place, as the library's mapper does.

    For readers of stored bodies that build no event objects, such as views. Raises ValueError for a later release's.
    """
    present = getattr(event_type, "class_version", 1)
    stored = body.pop("class_version", 1)
    if stored not in range(1, present + 1):
        raise ValueError(f"{event_type.TOPIC} has a version that this release does not know")
    for version in range(stored, present):
        getattr(event_type, f"upcast_v{version}_v{version + 1}")(body)
    return body
