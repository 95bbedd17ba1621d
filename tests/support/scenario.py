"""Given events, when a command, then events: the words in which the domain's tests are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem, price_cart
from ledger.catalogue import Catalogue
from ledger.events import Event, OrderCreated, PaymentRecorded, StatusChanged
from ledger.order import Order, place_order
from ledger.payments.gateway import Intent, PaymentGateway, PaymentKind, PaymentNotice
from ledger.statuses import Status

OWNER, PAYMENTS = Actor(1, Role.CUSTOMER), Actor(None, Role.PAYMENTS)
NOW = "2026-01-01T12:00:00.000000Z"
REQUEST = Cause(request_id="r")
INTENT = Intent("pi_1", "pi_1_secret_1", "requires_payment_method", 1999, 0, 0, "usd")
PAID = Intent("pi_1", "pi_1_secret_1", "succeeded", 1999, 1999, 0, "usd")
REFUNDED = Intent("pi_1", "pi_1_secret_1", "succeeded", 1999, 1999, 1999, "usd")


def created() -> OrderCreated:
    """The event of a new order of the owner: one organic T-shirt."""
    lines = price_cart(Catalogue.load(None), [CartItem("1")])
    return place_order(1, lines, INTENT, actor=OWNER, cause=REQUEST, timestamp=NOW)


def order_in(status: Status) -> list[Event]:
    """The shortest history that leaves an order in this status."""
    steps = {
        Status.PENDING: (),
        Status.SHIPPED: (Status.ORDER_PAID, Status.SHIPPED),
    }.get(status, (status,))
    events: list[Event] = [created()]
    previous = Status.PENDING
    for step in steps:
        events.append(changed(previous, step, version=len(events) + 1))
        previous = step
    return events


def changed(
    previous: Status, status: Status, *, version: int = 2, actor: Actor = OWNER, cause: Cause = REQUEST
) -> StatusChanged:
    """The event of a move, caused by request ``r`` at NOW unless said otherwise."""
    return StatusChanged(
        originator_id="order-1",
        originator_version=version,
        timestamp=NOW,
        actor=actor.record(),
        cause=cause.record(),
        previous=previous.value,
        status=status.value,
    )


def notice(kind: PaymentKind, amount: int = 1999, *, at: int = 0, **other: Any) -> PaymentNotice:
    """A notice about INTENT, of something that happened so many seconds after NOW."""
    moment = f"2026-01-01T12:{at // 60:02}:{at % 60:02}.000000Z"
    about: dict[str, Any] = {"intent_id": INTENT.id, "currency": "usd", **other}
    return PaymentNotice(kind, amount=amount, occurred_at=moment, **about)


def recorded(
    told: PaymentNotice,
    *,
    version: int = 2,
    status: Status = Status.PENDING,
    part_of: int | None = None,
    anomaly: str | None = None,
    actor: Actor = PAYMENTS,
    cause: Cause = REQUEST,
    **totals: Any,
) -> PaymentRecorded:
    """The event of a notice to an order of this status; of its totals, those that are not what nothing comes to."""
    nothing = {
        "records": 1,
        "phase": None,
        "received_in_cents": 0,
        "refunded_in_cents": 0,
        "open_disputes": 0,
        "lost_disputes": 0,
        "lost_in_cents": 0,
        "anomalies": 0,
    }
    return PaymentRecorded(
        originator_id="order-1",
        originator_version=version,
        timestamp=NOW,
        actor=actor.record(),
        cause=cause.record(part_of),
        kind=told.kind.value,
        payment_intent_id=told.intent_id,
        amount_in_cents=told.amount,
        currency=told.currency,
        occurred_at=told.occurred_at,
        reference=told.reference,
        detail=told.detail,
        anomaly=anomaly,
        order_status=status.value,
        totals={**nothing, **totals},  # type: ignore[typeddict-item]
    )


def when(given: Sequence[Event], command: Callable[[Order], None]) -> list[Event]:
    """The events that the command adds to the order that ``given`` tells of."""
    order = Order.project(None, given)
    assert order is not None
    command(order)
    return list(order.collect_events())


@dataclass
class OneIntent:
    """A gateway that knows one intent; without one it must not be asked. ``asked`` says what it was asked to do."""

    intent: Intent | None
    asked: list[str]

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is."""
        self.asked.append("retrieve")
        return self._known(intent_id)

    def cancel_intent(self, intent_id: str) -> Intent:
        """The intent, cancelled if it was open."""
        self.asked.append("cancel")
        self.intent = self._known(intent_id)
        if self.intent.open:
            self.intent = replace(self.intent, status="canceled")
        return self.intent

    def _known(self, intent_id: str) -> Intent:
        assert self.intent is not None, "the gateway was asked"
        assert self.intent.id == intent_id
        return self.intent


def move(status: Status, actor: Actor, intent: Intent | None = None) -> Callable[[Order], None]:
    """The command that moves an order, with the gateway knowing this intent; without one it must not be asked."""
    gateway: PaymentGateway = OneIntent(intent, [])  # type: ignore[assignment]  no order is placed or refunded
    return lambda order: order.move(status, gateway, actor=actor, cause=REQUEST, timestamp=NOW)


def tell(told: PaymentNotice, *, always: bool = False) -> Callable[[Order], None]:
    """The command that records a notice."""
    return lambda order: order.record_payment(told, actor=PAYMENTS, cause=REQUEST, timestamp=NOW, always=always)
