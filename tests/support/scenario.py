"""Given events, when a command, then events: the words in which the domain's tests are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem, price_cart
from ledger.catalogue import Catalogue
from ledger.events import Event, OrderCreated, StatusChanged
from ledger.order import Order, place_order
from ledger.payments.gateway import Intent
from ledger.statuses import Status

OWNER = Actor(1, Role.CUSTOMER)
NOW = "2026-01-01T12:00:00.000000Z"
INTENT = Intent("pi_1", "pi_1_secret_1", "requires_payment_method", 1999, 0, 0, "usd")
PAID = Intent("pi_1", "pi_1_secret_1", "succeeded", 1999, 1999, 0, "usd")
REFUNDED = Intent("pi_1", "pi_1_secret_1", "succeeded", 1999, 1999, 1999, "usd")


def created() -> OrderCreated:
    """The event of a new order of the owner: one organic T-shirt."""
    lines = price_cart(Catalogue.load(None), [CartItem("1")])
    return place_order(1, lines, INTENT, actor=OWNER, cause=Cause(request_id="r"), timestamp=NOW)


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


def changed(previous: Status, status: Status, *, version: int = 2, actor: Actor = OWNER) -> StatusChanged:
    """The event of a move, caused by request ``r`` at NOW."""
    return StatusChanged(
        originator_id="order-1",
        originator_version=version,
        timestamp=NOW,
        actor=actor.record(),
        cause={"request_id": "r"},
        previous=previous.value,
        status=status.value,
    )


def when(given: Sequence[Event], command: Callable[[Order], None]) -> list[Event]:
    """The events that the command adds to the order that ``given`` tells of."""
    order = Order.project(None, given)
    assert order is not None
    command(order)
    return list(order.collect_events())


def move(status: Status, actor: Actor, intent: Intent | None = None) -> Callable[[Order], None]:
    """The command that moves an order, with the gateway knowing this intent; without one it must not be asked."""

    def retrieve(intent_id: str) -> Intent:
        assert intent is not None, "the gateway was asked"
        assert intent.id == intent_id
        return intent

    return lambda order: order.move(status, retrieve, actor=actor, cause=Cause(request_id="r"), timestamp=NOW)
