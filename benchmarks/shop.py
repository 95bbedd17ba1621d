"""Two years of a shop, for the console: orders of many users, amounts and courses, told in the order of time.

The same number of orders makes the same log. Most of it is drawn; what the console's pages look for is where it is
hardest to find: see ``Shop``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import accumulate
from typing import NamedTuple

from benchmarks.fill import Batch
from ledger.clock import rfc3339
from ledger.leads import board_stream
from ledger.storage.log import NewEvent

BEGIN, DAYS = datetime(2024, 1, 1, tzinfo=UTC), 730
USERS, BUSY, QUIET, STAFF = 5000, 17, 6001, 9001
"""Users 1 to 5,000 order; the busy one has one order in fifty, the quiet one has two in all."""

SOME, FORMER, MANY = 3141, 7777, 600_000
"""Amounts in cents that 2 % of the orders have; that 8 % of the first year's have, and three since; few have more."""

LONGEST = 100
"""Events of the order that has most."""

_BATCH = 5_000
_DAY = 86_400
_PRODUCTS = [(number, f"Product {number}", 250 + 45 * number * number) for number in range(1, 41)]
_LAMP = (41, "Oak Desk Lamp", 12_900)
_GIFT, _SOME, _FORMER = (42, "Gift Card", 5000), (43, "Calendar", SOME), (44, "Calendar of the year before", FORMER)

# What becomes of orders, with how often; "!" marks what the payment gateway reports.
_COURSES = (
    (35, "order_paid! completed"),
    (20, "order_paid! shipped completed"),
    (12, "order_paid! shipped"),
    (8, "order_paid!"),
    (5, "payment_failed! order_paid! completed"),
    (5, "payment_failed!"),
    (3, "awaiting_payment!"),
    (7, "cancelled"),
    (5, ""),
)
_KINDS = {"order_paid!": "received", "payment_failed!": "failed", "awaiting_payment!": "processing"}
_DONE = "order_paid! shipped completed"

_CREATED = (
    '{"timestamp":"%s","actor":{"user":%d,"role":"customer"},"cause":{"request_id":"%032x"},"order_id":%d,"user_id":%d,'
    '"lines":[%s],"amount_in_cents":%d,"currency":"usd","payment_intent_id":"pi_%024x"}'
)
_LINE = '{"product_id":%d,"name":"%s","quantity":%d,"price_in_cents":%d}'
_MOVED = '{"timestamp":"%s","actor":%s,"cause":{%s},"previous":"%s","status":"%s"}'
_PAID = (
    '{"timestamp":"%s","actor":{"user":null,"role":"payments"},"cause":{%s},"kind":"%s","payment_intent_id":"pi_%024x",'
    '"amount_in_cents":%d,"currency":"usd","occurred_at":"%s","reference":%s,"detail":%s,"anomaly":null,'
    '"order_status":"%s","totals":{"records":%d,"phase":"%s","received_in_cents":%d,"refunded_in_cents":%d,'
    '"open_disputes":0,"lost_disputes":0,"lost_in_cents":0,"anomalies":0},"class_version":2}'
)
_ARRANGED = (
    '{"timestamp":"%s","actor":{"user":%d,"role":"customer"},"cause":{"request_id":"%032x"},"user_id":%d,'
    '"arrangement":[4,1,2,3]}'
)

_Line = tuple[tuple[int, str, int], int]
"""A product (id, name, price) and how many of it."""


class _Placing(NamedTuple):
    """Who orders what, and what becomes of it."""

    user: int
    lines: Sequence[_Line]
    course: str


@dataclass(slots=True)
class _Life:
    """An order as its events have left it."""

    order_id: int
    user: int
    amount: int
    steps: Iterator[str]
    status: str = "pending"
    version: int = 1
    records: int = 0
    phase: str = ""
    received: int = 0
    refunded: int = 0


class Shop:
    """A log of so many orders, at least a thousand.

    Rare things are spread over all of it: the orders that were declined, those of more than MANY, the quiet user's and
    the boards (the only events of their type), near its beginning and its end.
    """

    def __init__(self, orders: int) -> None:
        self.orders = orders
        self.longest = orders // 2 + 1
        self._random = random.Random(1)
        self._weights = list(accumulate(weight for weight, _ in _COURSES))
        self._special = self._specials()
        self._boards = {50: 1, orders // 2: 2, orders - 50: 3}
        self._ahead: list[tuple[float, int, str, _Life]] = []
        self._told = 0
        self._batch = Batch([], [])

    def batches(self) -> Iterator[Batch]:
        """The log, and the payment intents beside it."""
        for _ in self._happenings():
            if len(self._batch.events) >= _BATCH:
                yield self._batch
                self._batch = Batch([], [])
        yield self._batch

    def _specials(self) -> dict[int, _Placing]:
        tenth = self.orders // 10
        placings = {tenth * part - tenth // 2: _Placing(BUSY, [(_LAMP, 1)], "declined") for part in range(1, 11)}
        placings |= {tenth * part: _Placing(BUSY, [(_LAMP, 50)], _DONE) for part in range(1, 11)}
        seldom = [self.orders - self.orders * part // 100 - 1 for part in range(1, 4)]
        placings |= {order_id: _Placing(23, [(_FORMER, 1)], "order_paid! completed") for order_id in seldom}
        of_the_day = self.longest + 1  # on the day with the number 365
        placings[of_the_day] = _Placing(29, [(_SOME, 1)], "order_paid! completed")
        placings |= {order_id: _Placing(QUIET, [(_GIFT, 1)], _DONE) for order_id in (100, self.orders - 100)}
        refunds = "refund! " * (LONGEST - 5)  # the other five: it is placed, paid (two events), shipped and completed
        return placings | {self.longest: _Placing(BUSY, [(_LAMP, 1)], f"{_DONE} {refunds}")}

    def _happenings(self) -> Iterator[None]:
        pause = DAYS * _DAY / self.orders
        for order_id in range(1, self.orders + 1):
            moment = (order_id - self._random.random()) * pause
            while self._ahead and self._ahead[0][0] <= moment:
                self._go_on()
                yield
            self._place(order_id, moment)
            yield
            if order_id in self._boards:
                self._arrange(self._boards[order_id], moment)
        while self._ahead and self._ahead[0][0] <= DAYS * _DAY:
            self._go_on()
            yield

    def _drawn(self, order_id: int) -> _Placing:
        draw = self._random
        user = BUSY if draw.random() < 0.02 else draw.randint(1, USERS)
        course = draw.choices(_COURSES, cum_weights=self._weights)[0][1]
        kind = draw.random()
        if kind < 0.08 and order_id <= self.orders // 2:
            return _Placing(user, [(_FORMER, 1)], course)
        if kind > 0.90:
            return _Placing(user, [(_SOME if kind > 0.981 else _GIFT, 1)], course)
        products = draw.sample(_PRODUCTS, min(4, 1 + int(draw.expovariate(0.9))))
        return _Placing(user, [(product, 1 + int(draw.expovariate(1.2))) for product in products], course)

    def _place(self, order_id: int, moment: float) -> None:
        user, lines, course = self._special.get(order_id) or self._drawn(order_id)
        amount = sum(price * quantity for (_, _, price), quantity in lines)
        written = ",".join(_LINE % (number, name, quantity, price) for (number, name, price), quantity in lines)
        values = (_when(moment), user, self._next(), order_id, user, written, amount, order_id)
        self._batch.events.append(NewEvent(f"order-{order_id}", 1, "OrderCreated", _CREATED % values))
        intent = f"pi_{order_id:024x}"
        self._batch.intents.append((order_id, intent, f"{intent}_secret_{order_id:024x}", amount, "usd"))
        self._look_ahead(_Life(order_id, user, amount, iter(course.split())), moment)

    def _look_ahead(self, life: _Life, moment: float) -> None:
        step = next(life.steps, None)
        if step is not None:
            then = moment + self._random.lognormvariate(8, 1.5)
            heappush(self._ahead, (then, life.order_id, step, life))

    def _go_on(self) -> None:
        moment, _, step, life = heappop(self._ahead)
        if step == "refund!":
            self._refund(life, moment)
        elif step in _KINDS:
            self._pay(life, moment, step)
        else:
            who = f'"user":{life.user},"role":"customer"' if step == "cancelled" else f'"user":{STAFF},"role":"staff"'
            self._move(life, moment, step, who=f"{{{who}}}", why=f'"request_id":"{self._next():032x}"')
        self._look_ahead(life, moment)

    def _pay(self, life: _Life, moment: float, step: str) -> None:
        life.phase = _KINDS[step]
        life.received = life.amount if life.phase == "received" else 0
        why = f'"stripe_event_id":"evt_{self._next():024x}"'
        told = (life.phase, "null", '"card_declined"' if life.phase == "failed" else "null")
        self._tell(life, moment, life.amount, told, why=f'{why},"part_of_version":{life.version + 2}')
        self._move(life, moment, step.rstrip("!"), who='{"user":null,"role":"payments"}', why=why)

    def _refund(self, life: _Life, moment: float) -> None:
        life.refunded += 100
        number = self._next()
        told = ("refund", f'"re_{number:024x}"', '"succeeded"')
        self._tell(life, moment, 100, told, why=f'"stripe_event_id":"evt_{number:024x}"')

    def _tell(self, life: _Life, moment: float, amount: int, told: tuple[str, str, str], *, why: str) -> None:
        """A notice of an amount: its kind, its reference and its detail."""
        life.version += 1
        life.records += 1
        when, (kind, reference, detail) = _when(moment), told
        sums = (life.records, life.phase, life.received, life.refunded)
        body = _PAID % (when, why, kind, life.order_id, amount, when, reference, detail, life.status, *sums)
        self._batch.events.append(NewEvent(f"order-{life.order_id}", life.version, "PaymentRecorded", body))

    def _move(self, life: _Life, moment: float, status: str, *, who: str, why: str) -> None:
        life.version += 1
        body = _MOVED % (_when(moment), who, why, life.status, status)
        life.status = status
        self._batch.events.append(NewEvent(f"order-{life.order_id}", life.version, "StatusChanged", body))

    def _arrange(self, user: int, moment: float) -> None:
        body = _ARRANGED % (_when(moment), user, self._next(), user)
        self._batch.events.append(NewEvent(board_stream(user), 1, "LeadStatusesArranged", body))

    def _next(self) -> int:
        self._told += 1
        return self._told


def day(number: int) -> str:
    """The day with this number, the first being 0."""
    return (BEGIN + timedelta(days=number)).date().isoformat()


def _when(moment: float) -> str:
    return rfc3339(BEGIN + timedelta(seconds=moment))
