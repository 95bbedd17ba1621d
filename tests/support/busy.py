"""A ledger with events of every type, for tests that look at the log and not at what led to it."""

from __future__ import annotations

import random

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.leads import LeadMove
from ledger.statuses import Status
from ledger.transparency.keys import SignerKey
from tests.support.storages import CUSTOMER, OTHER, PAYMENTS, STAFF, Store

EVENTS = 16
"""How many events ``make_busy`` appends."""


def make_busy(store: Store) -> None:
    """Orders that are paid, refunded, shipped, cancelled, failed and left alone, and a board."""
    for number, actor in enumerate((CUSTOMER, OTHER, CUSTOMER, OTHER), 1):
        cause = Cause(request_id=f"r-{number}", idempotency_key=f"k{number}", request_hash="h")
        store.ledger.create_order([CartItem("1"), CartItem("5", 3)], actor=actor, cause=cause)
    pay(store, 1)
    store.ledger.refund_order(1, 500, actor=STAFF, cause=Cause())
    store.ledger.change_status(1, Status.SHIPPED, actor=STAFF, cause=Cause())
    store.ledger.change_status(1, Status.COMPLETED, actor=STAFF, cause=Cause())
    store.ledger.change_status(2, Status.CANCELLED, actor=OTHER, cause=Cause())
    failed = store.gateway.settle(3, fail=True)
    store.ledger.record_payment(failed, actor=PAYMENTS, cause=Cause(stripe_event_id="evt_failed"))
    pay(store, 3)
    store.ledger.arrange_leads([LeadMove(1, 4)], actor=CUSTOMER, cause=Cause())
    store.ledger.arrange_leads([LeadMove(1, 1)], actor=CUSTOMER, cause=Cause())


def pay(store: Store, order_id: int) -> None:
    """The order's payment succeeds, and the gateway tells of it."""
    told = Cause(stripe_event_id=f"evt_paid_{order_id}")
    store.ledger.record_payment(store.gateway.settle(order_id), actor=PAYMENTS, cause=told)


def log_key(name: str = "log.example/orders", seed: int = 1) -> SignerKey:
    """A key of the log, made from a seed."""
    return SignerKey.generate(name, random.Random(seed).randbytes)
