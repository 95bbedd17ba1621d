"""The same orders for everybody: an event of about 350 bytes, and the rows that go with it in the ledger."""

from __future__ import annotations

import json
from typing import NamedTuple

from ledger.events import OrderCreated
from ledger.payments.gateway import Intent

LINE = {"product_id": 1, "name": "Organic Cotton T-Shirt", "quantity": 2, "price_in_cents": 1999}
AMOUNT = 3998
DATE = "2026-01-01T12:00:00.000000Z"
TYPE = OrderCreated.TOPIC
_BODY = (
    '{"timestamp":"2026-01-01T12:00:00.000000Z","actor":{"user":%d,"role":"customer"},'
    '"cause":{"request_id":"%032x"},"order_id":%d,"user_id":%d,"lines":['
    + json.dumps(LINE, separators=(",", ":"))
    + '],"amount_in_cents":3998,"currency":"usd","payment_intent_id":"pi_%024x"}'
)
_DOCUMENT = (
    '{"id":%d,"userId":%d,"date":"2026-01-01T12:00:00.000000Z","products":[{"id":1,"name":"Organic Cotton T-Shirt",'
    '"quantity":2,"priceInCents":1999}],"amountInCents":3998'
)


class Made(NamedTuple):
    """A new order's event as text."""

    stream: str
    body: str


def event(order_id: int, user_id: int = 1) -> Made:
    """The event that places an order; as stored by the ledger, attribute by attribute."""
    return Made(f"order-{order_id}", _BODY % (user_id, order_id, order_id, user_id, order_id))


def intent(order_id: int) -> Intent:
    """The order's payment intent."""
    intent_id = f"pi_{order_id:024x}"
    return Intent(intent_id, f"{intent_id}_secret_{order_id:024x}", "requires_payment_method", AMOUNT, 0, 0, "usd")


def order_row(order_id: int, user_id: int = 1) -> tuple[int, int, str, int, str]:
    """The row of the orders view that the event makes; `appends` checks that it is the very one."""
    return (order_id, user_id, "pending", 1, _DOCUMENT % (order_id, user_id))


def intent_row(order_id: int) -> tuple[int, str, str, int, str]:
    """The row of the payment intent."""
    made = intent(order_id)
    return (order_id, made.id, made.client_secret, made.amount, made.currency)
