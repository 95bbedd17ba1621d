"""The Order aggregate: what may happen to an order, and who may make it happen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ledger.actor import MOVERS, Actor, Cause
from ledger.cart import LineRecord, amount_of
from ledger.errors import MoveNotAllowed, MoveNotInTable, PaymentNotConfirmed, RefundRequired, UnknownOrder
from ledger.events import Event, OrderCreated, StatusChanged
from ledger.payments.gateway import Intent
from ledger.statuses import TRANSITIONS, UNPAID, Status

_STREAM_PREFIX = "order-"


def order_stream(order_id: int) -> str:
    """The name of an order's stream: order 17 lives in ``order-17``."""
    return f"{_STREAM_PREFIX}{order_id}"


def order_id_of(stream: str) -> int:
    """The id of the order whose stream this is."""
    return int(stream.removeprefix(_STREAM_PREFIX))


def place_order(
    order_id: int, lines: list[LineRecord], intent: Intent, *, actor: Actor, cause: Cause, timestamp: str
) -> OrderCreated:
    """The event of a new order of the acting user. The lines are priced already, and the intent is for their amount.

    Raises MoveNotAllowed when the actor is not a user.
    """
    if actor.user is None:
        raise MoveNotAllowed("Only a user can place an order.")
    return OrderCreated(
        originator_id=order_stream(order_id),
        originator_version=1,
        timestamp=timestamp,
        actor=actor.record(),
        cause=cause.record(),
        order_id=order_id,
        user_id=actor.user,
        lines=lines,
        amount_in_cents=amount_of(lines),
        currency=intent.currency,
        payment_intent_id=intent.id,
    )


@dataclass
class Order:
    """An order as its events tell it; ``version`` is the number of events in its stream."""

    order_id: int
    user_id: int
    status: Status
    payment_intent_id: str
    version: int
    _pending: list[Event] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The order's stream, by which the event store knows it."""
        return order_stream(self.order_id)

    def check_visible(self, actor: Actor) -> None:
        """Raises UnknownOrder when the actor may not know of this order."""
        if not actor.may_see(self.user_id):
            raise UnknownOrder(f"There is no order {self.order_id}.")

    def move(
        self, status: Status, retrieve_intent: Callable[[str], Intent], *, actor: Actor, cause: Cause, timestamp: str
    ) -> None:
        """Records the move; nothing when the order has that status already.

        The payment gateway is asked, by the intent's id, only when the move depends on it. Raises UnknownOrder,
        MoveNotInTable, MoveNotAllowed, PaymentNotConfirmed or RefundRequired, and what ``retrieve_intent`` raises.
        """
        self.check_visible(actor)
        if status is self.status:
            return
        if status not in TRANSITIONS[self.status]:
            raise MoveNotInTable(f"An order that is {self.status} can't become {status}.")
        if actor.role not in MOVERS and not self._owner_may(status, actor):
            raise MoveNotAllowed(f"You may not move this order from {self.status} to {status}.")
        self._check_payment(status, retrieve_intent, actor)
        self._record(
            StatusChanged(
                originator_id=self.id,
                originator_version=self.version + 1,
                timestamp=timestamp,
                actor=actor.record(),
                cause=cause.record(),
                previous=self.status.value,
                status=status.value,
            )
        )

    def collect_events(self) -> Sequence[Event]:
        """Hands over the events that are not stored yet (the event store calls this)."""
        pending, self._pending = self._pending, []
        return pending

    @classmethod
    def project(cls, order: Order | None, events: Iterable[Event]) -> Order | None:
        """The order after ``events``, starting from ``order`` (``None``: from nothing)."""
        for event in events:
            if order is None:
                order = cls.started(event)
            else:
                order._apply(event)
        return order

    @classmethod
    def started(cls, event: Event) -> Order:
        """The order that begins with this event."""
        if not isinstance(event, OrderCreated):
            raise TypeError(f"{event.originator_id} starts with {type(event).__name__}, not with OrderCreated")
        return cls(event.order_id, event.user_id, Status.PENDING, event.payment_intent_id, event.originator_version)

    def _apply(self, event: Event) -> None:
        if not isinstance(event, StatusChanged):
            raise TypeError(f"{event.originator_id} has no place for {type(event).__name__}")
        self.status = Status(event.status)
        self.version = event.originator_version

    def _record(self, event: Event) -> None:
        self._apply(event)
        self._pending.append(event)

    def _owner_may(self, status: Status, actor: Actor) -> bool:
        if actor.user != self.user_id:
            return False
        if status is Status.CANCELLED:
            return self.status in UNPAID
        return status in {Status.ORDER_PAID, Status.COMPLETED}

    def _check_payment(self, status: Status, retrieve_intent: Callable[[str], Intent], actor: Actor) -> None:
        # The gateway may know of a payment whose notice has not come yet: no status can stand for asking it.
        if status is Status.CANCELLED:
            if not retrieve_intent(self.payment_intent_id).refunded:
                raise RefundRequired("An order that was paid can be cancelled only after a full refund.")
        elif actor.role not in MOVERS and not retrieve_intent(self.payment_intent_id).succeeded:
            raise PaymentNotConfirmed(f"The payment of order {self.order_id} has not succeeded.")
