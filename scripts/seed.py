"""``seed``: synthetic orders with believable histories; the same seed makes the same histories."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
from rich.console import Console
from rich.progress import Progress

from ledger.actor import Actor, Cause, Role
from ledger.cart import MAX_AMOUNT_IN_CENTS, CartItem, amount_of, price_cart
from ledger.clock import rfc3339
from ledger.errors import SettingsError
from ledger.order import Order, place_order
from ledger.payments.sandbox import SandboxGateway
from ledger.statuses import Status
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session

_FIRST_ORDER = datetime(2025, 1, 1, 8, 0, tzinfo=UTC)
_STAFF, _PAYMENTS = Actor(1_000_001, Role.STAFF), Actor(None, Role.PAYMENTS)
_BATCH = 500
_LINES_EVERY = 5_000

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


class Sower:
    """Makes orders one after the other, as ``rng`` decides."""

    def __init__(self, runtime: Runtime, rng: random.Random, users: int) -> None:
        self._ledger = runtime.services.ledger
        self._catalogue = runtime.services.catalogue
        self._database = runtime.database
        self._currency = runtime.settings.currency
        self._rng = rng
        self._users = users
        self._now = self._moment = _FIRST_ORDER
        self._sandbox = SandboxGateway(runtime.database, new_token=self._token, clock=lambda: self._moment)
        self._order_id = 0
        self._courses = [course.split() for _, course in _COURSES]
        self._weights = [weight for weight, _ in _COURSES]

    def sow(self, orders: int) -> Iterator[int]:
        """Appends orders with their whole histories; yields how many more are in the log."""
        for start in range(0, orders, _BATCH):
            order_ids = self._database.next_order_ids(min(_BATCH, orders - start))
            for order_id in order_ids:
                self._sow_one(order_id)
            yield len(order_ids)

    def _sow_one(self, order_id: int) -> None:
        rng = self._rng
        self._order_id = order_id
        self._now += timedelta(seconds=rng.expovariate(1 / 90))
        buyer = Actor(rng.randint(1, self._users), Role.CUSTOMER)
        lines = price_cart(self._catalogue, self._cart())
        intent = self._sandbox.create_intent(order_id, amount_of(lines), self._currency, f"order-{order_id}")
        placed = place_order(order_id, lines, intent, actor=buyer, cause=self._request(), timestamp=rfc3339(self._now))
        self._ledger.save(placed, intents=[(order_id, intent)])
        self._ride(Order.started(placed), buyer)

    def _ride(self, order: Order, buyer: Actor) -> None:
        self._moment = self._now
        for step in self._rng.choices(self._courses, self._weights)[0]:
            status = Status(step.removesuffix("!"))
            self._moment += timedelta(seconds=self._rng.lognormvariate(8, 1.5))
            now = rfc3339(self._moment)
            if step.endswith("!"):
                notice = self._sandbox.settle(order.order_id, fail=status is Status.PAYMENT_FAILED)
                told = Cause(stripe_event_id=f"evt_{self._token()}")
                order.record_payment(notice, actor=_PAYMENTS, cause=told, timestamp=now)
                continue
            actor = buyer if status is Status.CANCELLED else _STAFF
            order.move(status, self._sandbox, actor=actor, cause=self._request(), timestamp=now)
        self._ledger.save(order)

    def _cart(self) -> list[CartItem]:
        count = min(len(self._catalogue.products), 1 + int(self._rng.expovariate(0.7)))
        chosen = self._rng.sample(self._catalogue.products, count)
        items = [CartItem(product.id, 1 + int(self._rng.expovariate(1.2))) for product in chosen]
        return items if self._affordable(items) else [CartItem(chosen[0].id)]

    def _affordable(self, items: list[CartItem]) -> bool:
        prices = {product.id: product.price_in_cents for product in self._catalogue.products}
        return sum(prices[int(item.product)] * item.quantity for item in items) <= MAX_AMOUNT_IN_CENTS

    def _request(self) -> Cause:
        return Cause(request_id=f"seed-{self._rng.getrandbits(64):016x}")

    def _token(self) -> str:
        # The order's id keeps the intents of two runs with one seed apart.
        return f"{self._order_id:012x}{self._rng.getrandbits(48):012x}"


@click.command("seed")
@click.option("--orders", type=WholeNumber(1, 100_000_000), required=True, metavar="N", help="How many to make.")
@click.option(
    "--seed", "seed_number", type=int, default=1, show_default=True, help="The same seed, the same histories."
)
@click.option("--users", type=WholeNumber(1, 1_000_000), default=100, show_default=True, help="Users who order.")
@pass_session
def seed(session: Session, orders: int, seed_number: int, users: int) -> None:
    """Append synthetic orders with believable histories. Not in production."""
    settings = session.settings
    if settings.env == "production":
        raise SettingsError("seed makes orders up, so it does not run with LEDGER_ENV=production")
    with build(settings) as runtime:
        runtime.require_sandbox("seed")
        runtime.migrate()
        batches = Sower(runtime, random.Random(seed_number), users).sow(orders)  # noqa: S311 - histories, not secrets
        _report(session, batches, orders)
    session.say(f"{orders:,} {'order was' if orders == 1 else 'orders were'} added.")


def _report(session: Session, batches: Iterator[int], orders: int) -> None:
    if sys.stderr.isatty() and not session.quiet:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("orders", total=orders)
            for count in batches:
                progress.advance(task, count)
        return
    done = said = 0
    for count in batches:
        done += count
        if done - said >= _LINES_EVERY and done < orders:
            said = done
            session.say(f"{done:,} of {orders:,} orders")
