"""The commands of the ledger. Each one loads an aggregate, lets it decide, and saves what it recorded.

A command whose append loses a race is decided again on what won, a bounded number of times; a command that comes
twice under one cause answers what the first one did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Transcoder
from eventsourcing.utils import Environment, EnvType

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem, amount_of, price_cart
from ledger.catalogue import Catalogue
from ledger.clock import Clock, rfc3339, utc_now
from ledger.errors import Busy, IdempotencyKeyReused, MoveNotAllowed, UnknownOrder, VersionMismatch
from ledger.events import OrderCreated
from ledger.leads import LeadBoard, LeadMove, board_stream
from ledger.order import Order, order_stream, place_order
from ledger.payments.gateway import Intent, PaymentGateway, PaymentNotice
from ledger.receipts import STRIPE, Receipt, Receipts, user_source
from ledger.statuses import TRANSITIONS, Status
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import LogRecorder

MAX_ATTEMPTS = 10
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command on an order has led to; ``replayed`` when an earlier request with the same cause did it.

    ``placed`` is what was recorded when this very command placed the order, so that nobody has to read it back.
    """

    order_id: int
    version: int
    status: Status
    replayed: bool = False
    placed: tuple[OrderCreated, Intent] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Ports:
    """What the ledger needs from outside: all of it is injected."""

    recorder: LogRecorder
    receipts: Receipts
    gateway: PaymentGateway
    catalogue: Catalogue
    currency: str
    next_order_ids: Callable[[], Sequence[int]]
    clock: Clock = utc_now


class JSONBodies(Transcoder):
    """Stores event bodies as compact JSON in UTF-8, attribute by attribute, with nothing added."""

    def __init__(self) -> None:
        self._encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def encode(self, obj: Any) -> bytes:
        """The stored bytes. Raises TypeError or ValueError for what is not plain JSON."""
        return self._encoder.encode(obj).encode()

    def decode(self, data: bytes) -> Any:
        """The attributes as they were encoded."""
        return json.loads(data)


class OrderLedger(Application[str]):
    """The write side: one instance a process, used by all its threads. Every command may raise StorageUnavailable."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        super().__init__()

    def create_order(self, items: Sequence[CartItem], *, actor: Actor, cause: Cause) -> Outcome:
        """Places an order of the acting user, with a payment intent for its amount.

        Raises InvalidCart, IdempotencyKeyReused, PaymentsUnavailable, Busy.
        """

        def attempt() -> Outcome:
            lines = price_cart(self._ports.catalogue, items)
            order_id = self._ports.next_order_ids()[0]
            intent = self._ports.gateway.create_intent(
                order_id, amount_of(lines), self._ports.currency, _intent_key(order_id, actor, cause)
            )
            placed = place_order(order_id, lines, intent, actor=actor, cause=cause, timestamp=self._now())
            self.save(placed, intents=[(order_id, intent)])
            return Outcome(order_id, 1, Status.PENDING, placed=(placed, intent))

        return self._once(attempt, actor, cause)

    def change_status(
        self, order_id: int, status: Status, *, actor: Actor, cause: Cause, expected_version: int | None = None
    ) -> Outcome:
        """Moves an order to a status; an order that has it already is left alone.

        Raises UnknownOrder, VersionMismatch (not at ``expected_version``), MoveNotInTable, MoveNotAllowed,
        PaymentNotConfirmed, RefundRequired, IdempotencyKeyReused, PaymentsUnavailable, Busy.
        """

        def attempt() -> Outcome:
            order = self._order(order_id)
            order.check_visible(actor)
            if expected_version is not None and order.version != expected_version:
                raise VersionMismatch(f"Order {order_id} is at version {order.version}, which is not the one expected.")
            order.move(status, self._retrieve_intent, actor=actor, cause=cause, timestamp=self._now())
            return self._saved(order)

        return self._once(attempt, actor, cause)

    def settle_payment(self, notice: PaymentNotice) -> Outcome:
        """Records how an order's payment ended: to order_paid or payment_failed, once for each Stripe event id.

        A notice that the order's status has no move for (as a failure after success) changes nothing.
        Raises UnknownOrder, Busy.
        """
        actor, cause = Actor(None, Role.PAYMENTS), Cause(stripe_event_id=notice.stripe_event_id)
        status = Status.ORDER_PAID if notice.outcome == "succeeded" else Status.PAYMENT_FAILED

        def attempt() -> Outcome:
            order = self._order(notice.order_id)
            if order.payment_intent_id != notice.intent_id:
                raise UnknownOrder(f"Order {notice.order_id} has another payment intent than {notice.intent_id}.")
            if status in TRANSITIONS[order.status]:
                order.move(status, self._retrieve_intent, actor=actor, cause=cause, timestamp=self._now())
            return self._saved(order)

        return self._once(attempt, actor, cause)

    def arrange_leads(self, moves: Sequence[LeadMove], *, actor: Actor, cause: Cause) -> list[LeadMove]:
        """Moves lead statuses on the acting user's board; returns the named and the changed ones, by place.

        Raises InvalidArrangement, Busy.
        """
        if actor.user is None:
            raise MoveNotAllowed("Only a user has a board.")
        user_id = actor.user

        def attempt() -> list[LeadMove]:
            board = self._load(board_stream(user_id), LeadBoard.project) or LeadBoard(user_id)
            answer = board.arrange(moves, actor=actor, cause=cause, timestamp=self._now())
            self.save(board)
            return answer

        return _until_won(attempt)

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

    def _once(self, attempt: Callable[[], Outcome], actor: Actor, cause: Cause) -> Outcome:
        def attempt_or_replay() -> Outcome:
            receipt = self._receipt(actor, cause)
            if receipt is None:
                return attempt()
            return Outcome(receipt.order_id, receipt.version, receipt.status, replayed=True)

        return _until_won(attempt_or_replay)

    def _receipt(self, actor: Actor, cause: Cause) -> Receipt | None:
        if cause.stripe_event_id is not None:
            return self._ports.receipts.find(STRIPE, cause.stripe_event_id)
        if cause.idempotency_key is None or actor.user is None:
            return None
        receipt = self._ports.receipts.find(user_source(actor.user), cause.idempotency_key)
        if receipt is not None and receipt.request_hash != cause.request_hash:
            raise IdempotencyKeyReused("This Idempotency-Key was used before, for another request.")
        return receipt

    def _order(self, order_id: int) -> Order:
        order = self._load(order_stream(order_id), Order.project)
        if order is None:
            raise UnknownOrder(f"There is no order {order_id}.")
        return order

    def _load(self, stream: str, project: Callable[[Any, Any], T | None]) -> T | None:
        try:
            return cast("T", self.repository.get(stream, projector_func=project))
        except AggregateNotFoundError:
            return None

    def _retrieve_intent(self, intent_id: str) -> Intent:
        return self._ports.gateway.retrieve_intent(intent_id)

    def _saved(self, order: Order) -> Outcome:
        self.save(order)
        return Outcome(order.order_id, order.version, order.status)

    def _now(self) -> str:
        return rfc3339(self._ports.clock())


def _intent_key(order_id: int, actor: Actor, cause: Cause) -> str:
    """Made from the client's own key where there is one, so that a retry reuses the intent of the lost attempt."""
    if cause.idempotency_key is None:
        return f"order-{order_id}"
    parts = f"{actor.user}\n{cause.idempotency_key}\n{cause.request_hash}"
    return f"request-{hashlib.sha256(parts.encode()).hexdigest()}"


def _until_won(attempt: Callable[[], T]) -> T:
    """Decides again whenever another writer was first: an IntegrityError means that the decision's ground has moved."""
    for _ in range(MAX_ATTEMPTS):
        try:
            return attempt()
        except IntegrityError:
            continue
    raise Busy("Too many others are writing here; send the request again.")
