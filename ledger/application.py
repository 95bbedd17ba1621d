"""The commands of the ledger. Each one loads an aggregate, lets it decide, and saves what it recorded.

A command whose append loses a race is decided again on what won, a bounded number of times; a command that comes
twice under one cause answers what the first one did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Transcoder
from eventsourcing.utils import Environment, EnvType, TopicError

from ledger.actor import PAYMENTS, Actor, Cause
from ledger.attempts import Attempts
from ledger.cart import MAX_AMOUNT_IN_CENTS, CartItem, amount_of, price_cart
from ledger.clock import rfc3339
from ledger.errors import (
    IdempotencyKeyReused,
    InvalidAmount,
    MoveNotAllowed,
    OrderNotThereYet,
    PaymentsUnavailable,
    StorageUnavailable,
    UnknownOrder,
    UnknownPayment,
    UnreadableEvent,
    VersionMismatch,
    told_whole,
)
from ledger.events import UNREADABLE, Event, PaymentRecorded
from ledger.leads import LeadBoard, LeadMove, board_stream
from ledger.observer import Command
from ledger.order import Order, buyer_of, order_stream, place_order
from ledger.outcomes import Arranged, Outcome, RefundOutcome
from ledger.payments.gateway import Intent, PaymentKind, PaymentNotice
from ledger.ports import Ports
from ledger.receipts import Receipt, key_digest, receipt_of, request_digest
from ledger.statuses import UNPAID, Status
from ledger.storage.bodies import JSONBodies
from ledger.storage.log import RecordedEvent
from ledger.storage.tables import TableWrites

T = TypeVar("T")
_log = logging.getLogger(__name__)


class OrderLedger(Application[str]):
    """The write side: one instance a process, used by all its threads. Every command may raise StorageUnavailable."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._attempts = Attempts(ports.receipts, ports.observed)
        super().__init__()

    def create_order(self, items: Sequence[CartItem], *, actor: Actor, cause: Cause) -> Outcome:
        """Places an order of the acting user, with a payment intent for its amount.

        Raises MoveNotAllowed, InvalidCart, InvalidAmount, IdempotencyKeyReused, PaymentsUnavailable, Busy.
        """
        buyer_of(actor)

        def attempt() -> Outcome:
            lines = price_cart(self._ports.catalogue, items)
            amount, currency = amount_of(lines), self._ports.currency
            order_id, key = self._ports.reserve_order(request_digest(actor, cause, amount, currency))
            intent = self._ports.gateway.create_intent(order_id, amount, currency, key)
            placed = place_order(order_id, lines, intent, actor=actor, cause=cause, timestamp=self._now())
            position = self._saved(placed, intents=[(order_id, intent)])
            return Outcome(order_id, 1, Status.PENDING, position=position, placed=(placed, intent))

        return self._attempts.once(Command("create_order", actor, cause), attempt)

    def change_status(
        self, order_id: int, status: Status, *, actor: Actor, cause: Cause, expected_version: int | None = None
    ) -> Outcome:
        """Moves an order to a status; an order that has it already is left alone.

        Raises UnknownOrder, VersionMismatch (not at ``expected_version``), MoveNotInTable, MoveNotAllowed,
        PaymentNotConfirmed, PaymentInProgress, RefundRequired, UnknownPayment, IdempotencyKeyReused,
        PaymentsUnavailable, Busy.
        """

        def attempt() -> Outcome:
            order = self._order(order_id)
            order.check_visible(actor)
            _check_version(order, expected_version)
            was_unpaid = order.status in UNPAID
            order.move(status, self._ports.gateway, actor=actor, cause=cause, timestamp=self._now())
            outcome = self._outcome(order)
            if was_unpaid and order.open_in_vain:
                self._close_payment(order)
            return outcome

        return self._attempts.once(Command("change_status", actor, cause, order_id), attempt)

    def record_payment(self, notice: PaymentNotice, *, actor: Actor, cause: Cause) -> Outcome | None:
        """Records what the gateway tells of a payment, and the move that it leads to; nothing that is known already.

        ``None`` when it is no order's, or tells of no money for an order that is not in the log. Raises
        OrderNotThereYet when it tells of money for such an order, Busy.
        """
        order_id = self._ports.order_of_intent(notice.intent_id) or notice.order_id
        if order_id is None:
            return None

        def attempt() -> Outcome | None:
            order = self._find_order(order_id)
            if order is None and notice.kind is PaymentKind.RECEIVED:
                raise OrderNotThereYet(f"There is no order {order_id} yet.")
            if order is None:
                return None
            known = order.version
            order.record_payment(notice, actor=actor, cause=cause, timestamp=self._now())
            return self._outcome(order, replayed=order.version == known)

        return self._attempts.once(Command("record_payment", actor, cause, order_id), attempt)

    def knows_payment(self, notice: PaymentNotice) -> bool:
        """Whether recording what this notice tells would add nothing to its order."""
        order_id = self._ports.order_of_intent(notice.intent_id) or notice.order_id
        order = None if order_id is None else self._find_order(order_id)
        return order is None or order.knows(notice)

    def refund_order(
        self,
        order_id: int,
        amount_in_cents: int | None,
        *,
        actor: Actor,
        cause: Cause,
        expected_version: int | None = None,
    ) -> RefundOutcome:
        """Refunds an amount of an order's payment, or (``None``) all that is left. Its status is left as it is.

        A repeat with the same idempotency key answers what the first one did. Raises UnknownOrder, VersionMismatch (not
        at ``expected_version``), Forbidden, InvalidAmount, RefundRefused, UnknownPayment, IdempotencyKeyReused,
        PaymentsUnavailable, Busy.

        With ``expected_version`` it learns first of what the gateway has refunded: an outcome that was lost makes it
        another version. What is asked for then is the payment's next refund, which there is only one of, whoever asks.
        """
        if amount_in_cents is not None:
            _check_amount("amountInCents", amount_in_cents)
        # Whatever is sent with the key: the first request may have been carried out though its answer was lost.
        key = f"refund-{key_digest(actor, cause) or self._ports.new_token()}"
        expected = expected_version

        def attempt() -> RefundOutcome:
            nonlocal expected, key
            # First: what this cause has led to meanwhile moves the order on, and is found after that.
            order = self._order(order_id)
            receipt = receipt_of(self._ports.receipts, actor, cause)
            if receipt is not None:
                return self._refunded_before(order_id, receipt)
            order.check_refundable(actor)
            if expected is not None:
                order = self._with_all_refunds(order, cause)
                receipt = None if order.version == expected else receipt_of(self._ports.receipts, actor, cause)
                if receipt is not None:  # given twice at once
                    return self._refunded_before(order_id, receipt)
                _check_version(order, expected)
                # Who refunds at the same time, or again before anybody knows what came of it, comes to the same refund.
                key = f"refund-{order.payment_intent_id}-{len(order.payment.refunds) + 1}"
                expected = None  # from here on the gateway's notice of this refund may be what moves the order on
            refund = self._ports.gateway.refund(order.payment_intent_id, amount_in_cents, key)
            # Always recorded: the webhook of this refund may have been faster, and it does not have this cause.
            now = self._now()
            order.record_payment(refund.notice(now), actor=actor, cause=cause, timestamp=now, always=True)
            return RefundOutcome(order_id, refund, order.version, position=self._saved(order))

        return self._attempts.until_won(Command("refund_order", actor, cause, order_id), attempt)

    def open_payment(self, amount_in_cents: int, *, actor: Actor, cause: Cause) -> Intent:
        """A payment intent that belongs to no order. Nothing is recorded. Raises InvalidAmount, PaymentsUnavailable."""
        _check_amount("amount", amount_in_cents)
        currency = self._ports.currency
        key = f"payment-{request_digest(actor, cause, amount_in_cents, currency) or self._ports.new_token()}"
        return self._ports.gateway.create_intent(None, amount_in_cents, currency, key)

    def arrange_leads(self, moves: Sequence[LeadMove], *, actor: Actor, cause: Cause) -> Sequence[LeadMove]:
        """Moves lead statuses on the acting user's board; returns the named and the changed ones, by place.

        Raises InvalidArrangement, Busy.
        """
        if actor.user is None:
            raise MoveNotAllowed("Only a user has a board.")
        user_id = actor.user

        def attempt() -> Arranged:
            board = self._load(board_stream(user_id), LeadBoard.project) or LeadBoard(user_id)
            answer = board.arrange(moves, actor=actor, cause=cause, timestamp=self._now())
            return Arranged(answer, board.version, position=self._saved(board))

        return self._attempts.until_won(Command("arrange_leads", actor, cause), attempt).moves

    def load(
        self, events: Sequence[Event], *, intents: Sequence[tuple[int, Intent]], beside: Sequence[TableWrites]
    ) -> bool:
        """Appends in bulk what aggregates have decided already; ``False``, and nothing, when others were first there.

        With a command for each, every one would cost a lock, a transaction and a reading of its aggregate.
        """
        stored = [self.mapper.to_stored_event(event) for event in events]
        try:
            self._ports.recorder.insert_events(stored, intents=intents, beside=beside)
        except IntegrityError:
            return False
        return True

    def history(self, order_id: int) -> list[RecordedEvent]:
        """Every event of an order as it is stored, oldest first. Raises UnknownOrder."""
        events = self._ports.recorder.read_stream(order_stream(order_id))
        if not events:
            raise UnknownOrder(f"There is no order {order_id}.")
        return events

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Nothing but the composition root reads the process's environment, so the library is given none of it."""
        return Environment(name, env)

    def construct_recorder(self) -> ApplicationRecorder:
        """The injected event store."""
        return self._ports.recorder

    def construct_transcoder(self) -> Transcoder:
        """Plain JSON bodies."""
        return JSONBodies()

    def _order(self, order_id: int) -> Order:
        order = self._find_order(order_id)
        if order is None:
            raise UnknownOrder(f"There is no order {order_id}.")
        return order

    def _find_order(self, order_id: int) -> Order | None:
        return self._load(order_stream(order_id), Order.project)

    def _load(self, stream: str, project: Callable[[Any, Any], T | None]) -> T | None:
        try:
            with _readable(stream):
                return cast("T", self.repository.get(stream, projector_func=project))
        except AggregateNotFoundError:
            return None

    def _with_all_refunds(self, order: Order, cause: Cause) -> Order:
        """The order once it knows of every refund that the gateway has made."""
        notices = [each.notice(self._now()) for each in self._ports.gateway.list_refunds(order.payment_intent_id)]
        missed = [notice for notice in notices if not order.knows(notice)]
        told = Cause(request_id=cause.request_id, trace_id=cause.trace_id)
        for notice in missed:
            self.record_payment(notice, actor=PAYMENTS, cause=told)
        return self._order(order.order_id) if missed else order

    def _refunded_before(self, order_id: int, receipt: Receipt) -> RefundOutcome:
        """The refund that a receipt is for, as it was answered then."""
        if receipt.order_id != order_id:
            raise IdempotencyKeyReused("This Idempotency-Key was used before, for another order.")
        self._ports.observed.by.replayed()
        with _readable(order_stream(order_id)):
            [event] = self.events.get(order_stream(order_id), gt=receipt.version - 1, lte=receipt.version)
            return RefundOutcome(order_id, cast("PaymentRecorded", event).refund, receipt.version, replayed=True)

    def _close_payment(self, order: Order) -> None:
        """Sees to it that nobody pays for an order that was paid in another way, or is given up.

        After the commit: the gateway's word of it must find an order that is not waiting for its payment any more. What
        can't be closed now is left to reconciliation, as it is when the process ends here.
        """
        try:
            outcome = self._ports.gateway.cancel_intent(order.payment_intent_id).status
        except (PaymentsUnavailable, UnknownPayment, StorageUnavailable) as error:
            outcome = f"unknown: {error}"
        if outcome != "canceled":
            message = "order %s is %s, and its payment could not be cancelled; its status is %s"
            _log.warning(message, order.order_id, order.status, outcome, extra={"order": order.order_id})

    def _outcome(self, order: Order, *, replayed: bool = False) -> Outcome:
        position = self._saved(order)
        return Outcome(order.order_id, order.version, order.status, replayed, position)

    def _saved(self, *recorded: Any, **beside: Any) -> int | None:
        """Appends what was recorded; answers the position of the last event, ``None`` when there was none."""
        recordings = self.save(*recorded, **beside)
        return recordings[-1].notification.id if recordings else None

    def _now(self) -> str:
        return rfc3339(self._ports.clock())


@contextmanager
def _readable(stream: str) -> Iterator[None]:
    """Raises UnreadableEvent for what an altered event of the stream brings about."""
    try:
        yield
    except (*UNREADABLE, TopicError) as error:
        told = told_whole(error)
        raise UnreadableEvent(f"The stream {stream} has an event that can't be read: {told}.") from error


def _check_version(order: Order, expected: int | None) -> None:
    if expected is not None and order.version != expected:
        raise VersionMismatch(f"Order {order.order_id} is at version {order.version}, which is not the one expected.")


def _check_amount(name: str, amount: int) -> None:
    if not 1 <= amount <= MAX_AMOUNT_IN_CENTS:
        raise InvalidAmount({name: [f"An amount is from 1 to {MAX_AMOUNT_IN_CENTS} cents."]})
