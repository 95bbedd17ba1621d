"""Synthetic orders with believable histories, all of them told in the order of time, as a real shop's log has them.

Each order's life is drawn when it is placed, whatever others do meanwhile: the same numbers make the same histories.
The aggregates decide, as they do for a command; but they stay in memory between their events, some hundreds of them at
a time, and the events of many are appended as one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import accumulate
from typing import NamedTuple

from ledger.actor import PAYMENTS, Actor, Cause, Role
from ledger.application import OrderLedger
from ledger.cart import MAX_AMOUNT_IN_CENTS, CartItem, amount_of, price_cart
from ledger.catalogue import Catalogue
from ledger.clock import rfc3339
from ledger.errors import Busy
from ledger.events import Event
from ledger.order import Order, place_order
from ledger.payments.gateway import Intent
from ledger.payments.sandbox_bulk import BulkSandbox
from ledger.statuses import Status
from ledger.storage import Database

_FIRST_ORDER = datetime(2025, 1, 1, 8, 0, tzinfo=UTC)
_STAFF = Actor(1_000_001, Role.STAFF)
_EVENTS = 2_000
"""Events of an append: enough to make its fsync small change, few enough to hold other writers up only for a moment."""

_IDS = 500
_ATTEMPTS = 10

# What becomes of orders, with how often; "!" marks the moves that the payment gateway reports.
_COURSES: tuple[tuple[int, str], ...] = (
    (55, "order_paid! shipped completed"),
    (12, "order_paid! shipped"),
    (8, "order_paid!"),
    (6, "payment_failed! order_paid! shipped completed"),
    (5, "awaiting_payment order_paid! completed"),
    (4, "payment_failed!"),
    (4, "cancelled"),
    (2, "declined"),
    (4, ""),
)


class _Step(NamedTuple):
    """What will happen to an order, and when."""

    moment: datetime
    status: Status
    by_gateway: bool
    token: str


@dataclass(slots=True)
class _Life:
    """An order while something is still to happen to it; ``written`` is its version in the log."""

    order: Order
    buyer: Actor
    steps: Iterator[_Step]
    written: int = 0
    over: bool = False


@dataclass(slots=True)
class _Batch:
    """What is appended next, and whose it is."""

    events: list[Event] = field(default_factory=list)
    intents: list[tuple[int, Intent]] = field(default_factory=list)
    lives: dict[str, _Life] = field(default_factory=dict)


class Sower:
    """Makes orders as ``rng`` decides, and appends about ``batch`` events as one.

    Others may write meanwhile: an order that one of them moves is left to them.
    """

    def __init__(
        self,
        *,
        ledger: OrderLedger,
        database: Database,
        catalogue: Catalogue,
        currency: str,
        rng: random.Random,
        users: int,
        batch: int = _EVENTS,
    ) -> None:
        self._ledger = ledger
        self._database = database
        self._catalogue = catalogue
        self._currency = currency
        self._rng = rng
        self._users = users
        self._batch_size = batch
        self._order_id = 0
        self._moment = _FIRST_ORDER
        self._sandbox = BulkSandbox(database, new_token=self._token, clock=lambda: self._moment)
        self._prices = {product.id: product.price_in_cents for product in catalogue.products}
        self._courses = [[(Status(step.rstrip("!")), step[-1] == "!") for step in each.split()] for _, each in _COURSES]
        self._weights = list(accumulate(weight for weight, _ in _COURSES))
        self._ahead: list[tuple[datetime, int, _Step, _Life]] = []
        self._batch = _Batch()

    def sow(self, orders: int) -> Iterator[int]:
        """Appends orders with their whole histories; yields, batch by batch, how many more are in the log."""
        placed = 0
        for new in self._happenings(orders):
            placed += new
            if len(self._batch.events) >= self._batch_size:
                self._append()
                yield placed
                placed = 0
        self._append()
        yield placed

    def _happenings(self, orders: int) -> Iterator[int]:
        """Lets everything happen in the order of time; yields 1 for each new order, 0 for what happens to one."""
        now = _FIRST_ORDER
        for start in range(0, orders, _IDS):
            for order_id in self._database.next_order_ids(min(_IDS, orders - start)):
                now += timedelta(seconds=self._rng.expovariate(1 / 90))
                while self._ahead and self._ahead[0][0] <= now:
                    self._go_on()
                    yield 0
                self._place(order_id, now)
                yield 1
        while self._ahead:
            self._go_on()
            yield 0

    def _place(self, order_id: int, now: datetime) -> None:
        self._order_id, self._moment = order_id, now
        buyer = Actor(self._rng.randint(1, self._users), Role.CUSTOMER)
        lines = price_cart(self._catalogue, self._cart())
        intent = self._sandbox.create_intent(order_id, amount_of(lines), self._currency, f"order-{order_id}")
        placed = place_order(order_id, lines, intent, actor=buyer, cause=self._request(), timestamp=rfc3339(now))
        self._batch.events.append(placed)
        self._batch.intents.append((order_id, intent))
        life = _Life(Order.started(placed), buyer, iter(self._course(now)))
        self._batch.lives[life.order.id] = life
        self._look_ahead(life)

    def _course(self, placed: datetime) -> list[_Step]:
        """All that will happen to an order, drawn at once."""
        steps, moment = [], placed
        for status, by_gateway in self._rng.choices(self._courses, cum_weights=self._weights)[0]:
            moment += timedelta(seconds=self._rng.lognormvariate(8, 1.5))
            steps.append(_Step(moment, status, by_gateway, self._token()))
        return steps

    def _look_ahead(self, life: _Life) -> None:
        step = next(life.steps, None)
        if step is None:
            life.over = True
        else:
            heappush(self._ahead, (step.moment, life.order.order_id, step, life))

    def _go_on(self) -> None:
        """The next thing happens, unless another writer has its order."""
        self._moment, _, step, life = heappop(self._ahead)
        if life.over:
            return
        order, now = life.order, rfc3339(self._moment)
        if step.by_gateway:
            notice = self._sandbox.settle_intent(order.payment_intent_id, fail=step.status is Status.PAYMENT_FAILED)
            told = Cause(stripe_event_id=f"evt_{step.token}")
            order.record_payment(notice, actor=PAYMENTS, cause=told, timestamp=now)
        else:
            actor = life.buyer if step.status is Status.CANCELLED else _STAFF
            cause = Cause(request_id=f"seed-{step.token}")
            order.move(step.status, self._sandbox, actor=actor, cause=cause, timestamp=now)
            if order.open_in_vain:
                self._sandbox.cancel_intent(order.payment_intent_id)
        self._batch.events.extend(order.collect_events())
        self._batch.lives[order.id] = life
        self._look_ahead(life)

    def _append(self) -> None:
        batch, self._batch = self._batch, _Batch()
        for _ in range(_ATTEMPTS):
            if self._ledger.load(batch.events, intents=batch.intents, beside=[self._sandbox.writes()]):
                self._appended(batch)
                return
            self._leave_to_others(batch)
        raise Busy("Too many others are writing here; seed an emptier ledger, or a quieter one.")

    def _appended(self, batch: _Batch) -> None:
        self._sandbox.written()
        for life in batch.lives.values():
            life.written = life.order.version
            if life.over:
                self._sandbox.forget(life.order.payment_intent_id)

    def _leave_to_others(self, batch: _Batch) -> None:
        """Takes out of the batch the orders that another writer has moved since they were written."""
        moved = {stream for stream, life in batch.lives.items() if life.written and self._is_moved(life)}
        for stream in moved:
            life = batch.lives.pop(stream)
            life.over = True
            self._sandbox.forget(life.order.payment_intent_id)
        batch.events[:] = [event for event in batch.events if event.originator_id not in moved]

    def _is_moved(self, life: _Life) -> bool:
        versions = len(self._ledger.history(life.order.order_id))
        return versions != life.written or self._sandbox.differs(life.order.payment_intent_id)

    def _cart(self) -> list[CartItem]:
        count = min(len(self._catalogue.products), 1 + int(self._rng.expovariate(0.7)))
        chosen = self._rng.sample(self._catalogue.products, count)
        items = [CartItem(product.id, 1 + int(self._rng.expovariate(1.2))) for product in chosen]
        return items if self._affordable(items) else [CartItem(chosen[0].id)]

    def _affordable(self, items: list[CartItem]) -> bool:
        return sum(self._prices[int(item.product)] * item.quantity for item in items) <= MAX_AMOUNT_IN_CENTS

    def _request(self) -> Cause:
        return Cause(request_id=f"seed-{self._rng.getrandbits(64):016x}")

    def _token(self) -> str:
        # The order's id keeps the intents of two runs with one seed apart.
        return f"{self._order_id:012x}{self._rng.getrandbits(48):012x}"
