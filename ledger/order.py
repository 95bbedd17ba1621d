"""The Order aggregate: what may happen to an order, and who may make it happen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ledger.actor import MOVERS, Actor, Cause, CauseRecord
from ledger.cart import LineRecord, amount_of
from ledger.errors import (
    Forbidden,
    MoveNotAllowed,
    MoveNotInTable,
    PaymentInProgress,
    PaymentNotConfirmed,
    RefundRequired,
    UnknownOrder,
)
from ledger.events import Event, OrderCreated, PaymentRecorded, StatusChanged
from ledger.payments.gateway import Intent, PaymentGateway, PaymentKind, PaymentNotice
from ledger.payments.payment import Payment, anomaly_of
from ledger.statuses import TRANSITIONS, UNPAID, Status

STREAM_PREFIX = "order-"


def order_stream(order_id: int) -> str:
    """The name of an order's stream: order 17 lives in ``order-17``."""
    return f"{STREAM_PREFIX}{order_id}"


def order_id_of(stream: str) -> int:
    """The id of the order whose stream this is."""
    return int(stream.removeprefix(STREAM_PREFIX))


def buyer_of(actor: Actor) -> int:
    """The user who orders. Raises MoveNotAllowed when the actor is not a user."""
    if actor.user is None:
        raise MoveNotAllowed("Only a user can place an order.")
    return actor.user


def place_order(
    order_id: int, lines: list[LineRecord], intent: Intent, *, actor: Actor, cause: Cause, timestamp: str
) -> OrderCreated:
    """The event of a new order of the acting user. The lines are priced already, and the intent is for their amount.

    Raises MoveNotAllowed when the actor is not a user.
    """
    return OrderCreated(
        originator_id=order_stream(order_id),
        originator_version=1,
        timestamp=timestamp,
        actor=actor.record(),
        cause=cause.record(),
        order_id=order_id,
        user_id=buyer_of(actor),
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
    amount_in_cents: int
    currency: str
    version: int
    payment: Payment = field(default_factory=Payment)
    payment_records: int = 0
    _pending: list[Event] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The order's stream, by which the event store knows it."""
        return order_stream(self.order_id)

    @property
    def open_in_vain(self) -> bool:
        """Whether it might still be paid, though it was moved past that by hand. Cancelling closes it first."""
        return self.status not in UNPAID | {Status.CANCELLED} and not self.payment.received

    def check_visible(self, actor: Actor) -> None:
        """Raises UnknownOrder when the actor may not know of this order."""
        if not actor.may_see(self.user_id):
            raise UnknownOrder(f"There is no order {self.order_id}.")

    def move(self, status: Status, gateway: PaymentGateway, *, actor: Actor, cause: Cause, timestamp: str) -> None:
        """Records the move; nothing when the order has that status already.

        The payment gateway is asked only when the move depends on it; an open intent of an order that is cancelled is
        cancelled first. Raises UnknownOrder, MoveNotInTable, MoveNotAllowed, PaymentNotConfirmed, PaymentInProgress or
        RefundRequired, and what the gateway raises.
        """
        self.check_visible(actor)
        if status is self.status:
            return
        if status not in TRANSITIONS[self.status]:
            raise MoveNotInTable(f"An order that is {self.status} can't become {status}.")
        if actor.role not in MOVERS and not self._owner_may(status, actor):
            raise MoveNotAllowed(f"You may not move this order from {self.status} to {status}.")
        if status is Status.CANCELLED:
            self._cancel_intent(gateway)
        elif actor.role not in MOVERS:
            self._confirm_payment(gateway, actor=actor, cause=cause, timestamp=timestamp)
        self._change_status(status, actor=actor, cause=cause, timestamp=timestamp)

    def record_payment(
        self, notice: PaymentNotice, *, actor: Actor, cause: Cause, timestamp: str, always: bool = False
    ) -> None:
        """Records what has happened to the payment, and the move it leads to; nothing that is known already.

        ``always`` records it even then, for a command whose cause must find its outcome again. What does not fit the
        order is recorded as an anomaly, and moves nothing; what is no business of the order's is not recorded.
        """
        understood = self._understood(notice)
        if understood is None:
            return
        anomaly, payment = understood
        if payment == self.payment and not always:
            return
        status = payment.status_after(notice) if anomaly is None and self.status in UNPAID else None
        if status is None or status not in TRANSITIONS[self.status]:
            self._record_payment(notice, payment, anomaly, actor=actor, cause=cause.record(), timestamp=timestamp)
            return
        part = cause.record(self.version + 2)
        self._record_payment(notice, payment, anomaly, actor=actor, cause=part, timestamp=timestamp)
        self._change_status(status, actor=actor, cause=cause, timestamp=timestamp)

    def knows(self, notice: PaymentNotice) -> bool:
        """Whether recording this would add nothing."""
        understood = self._understood(notice)
        return understood is None or understood[1] == self.payment

    def check_refundable(self, actor: Actor) -> None:
        """Raises UnknownOrder or Forbidden when the actor may not refund this order."""
        self.check_visible(actor)
        if actor.role not in MOVERS:
            raise Forbidden("Only staff can refund an order.")

    def collect_events(self) -> Sequence[Event]:
        """Hands over the events that are not stored yet (the event store calls this)."""
        pending, self._pending = self._pending, []
        return pending

    @classmethod
    def project(cls, order: Order | None, events: Iterable[Event]) -> Order | None:
        """The order after ``events``, starting from ``order`` (``None``: from nothing).

        Raises ValueError or TypeError where they are not what one order can record.
        """
        for event in events:
            if event.originator_version != (0 if order is None else order.version) + 1:
                raise ValueError(f"before version {event.originator_version} of {event.originator_id} one is missing")
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
        return cls(
            order_id=event.order_id,
            user_id=event.user_id,
            status=Status.PENDING,
            payment_intent_id=event.payment_intent_id,
            amount_in_cents=event.amount_in_cents,
            currency=event.currency,
            version=event.originator_version,
        )

    def _apply(self, event: Event) -> None:
        if isinstance(event, StatusChanged):
            self.status = Status(event.status)
        elif isinstance(event, PaymentRecorded):
            self.payment = self._payment_after(event.notice, event.anomaly)
            self.payment_records = event.totals["records"]
        else:
            raise TypeError(f"{event.originator_id} has no place for {type(event).__name__}")
        self.version = event.originator_version

    def _record(self, event: Event) -> None:
        self._apply(event)
        self._pending.append(event)

    def _understood(self, notice: PaymentNotice) -> tuple[str | None, Payment] | None:
        """What is wrong with a notice and the payment with it; ``None`` when it is no business of the order's."""
        anomaly = anomaly_of(notice, self.payment_intent_id, self.amount_in_cents, self.currency)
        if notice.intent_id != self.payment_intent_id and anomaly is None:
            return None
        return anomaly, self._payment_after(notice, anomaly)

    def _payment_after(self, notice: PaymentNotice, anomaly: str | None) -> Payment:
        if anomaly is None:
            return self.payment.after(notice)
        if notice.intent_id != self.payment_intent_id:
            return self.payment.after_anomaly(notice, None)
        # What another currency comes to is not known, but that it was disputed is.
        money = notice if notice.currency == self.currency else replace(notice, amount=0)
        return self.payment.after_anomaly(notice, money)

    def _record_payment(
        self,
        notice: PaymentNotice,
        payment: Payment,
        anomaly: str | None,
        *,
        actor: Actor,
        cause: CauseRecord,
        timestamp: str,
    ) -> None:
        self._record(
            PaymentRecorded(
                originator_id=self.id,
                originator_version=self.version + 1,
                timestamp=timestamp,
                actor=actor.record(),
                cause=cause,
                kind=notice.kind.value,
                payment_intent_id=notice.intent_id,
                amount_in_cents=notice.amount,
                currency=notice.currency,
                occurred_at=notice.occurred_at,
                reference=notice.reference,
                detail=notice.detail,
                anomaly=anomaly,
                order_status=self.status.value,
                totals=payment.totals(self.payment_records + 1),
            )
        )

    def _change_status(self, status: Status, *, actor: Actor, cause: Cause, timestamp: str) -> None:
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

    def _owner_may(self, status: Status, actor: Actor) -> bool:
        if actor.user != self.user_id:
            return False
        if status is Status.CANCELLED:
            return self.status in UNPAID
        return status in {Status.ORDER_PAID, Status.COMPLETED}

    def _cancel_intent(self, gateway: PaymentGateway) -> None:
        # The gateway may know of a payment whose notice has not come yet: no status can stand for asking it.
        intent = gateway.cancel_intent(self.payment_intent_id)
        if intent.status == "processing":
            raise PaymentInProgress("The payment is being processed: the order can be cancelled if it fails.")
        if intent.amount_received > intent.amount_refunded + self.payment.lost:
            raise RefundRequired("An order that was paid can be cancelled only after a full refund.")

    def _confirm_payment(self, gateway: PaymentGateway, *, actor: Actor, cause: Cause, timestamp: str) -> None:
        intent = gateway.retrieve_intent(self.payment_intent_id)
        if not intent.succeeded or (intent.amount_received, intent.currency) != (self.amount_in_cents, self.currency):
            raise PaymentNotConfirmed(f"The payment of order {self.order_id} has not succeeded.")
        notice = PaymentNotice(PaymentKind.RECEIVED, intent.id, intent.amount_received, intent.currency, timestamp)
        payment = self._payment_after(notice, None)
        if payment != self.payment:
            part = cause.record(self.version + 2)
            self._record_payment(notice, payment, None, actor=actor, cause=part, timestamp=timestamp)
