"""The payment gateway as the ledger sees it: a port with Stripe's PaymentIntent as its model.

Source of the shapes: https://docs.stripe.com/api/payment_intents/object
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent: amounts in the currency's smallest unit, ``status`` in Stripe's words."""

    id: str
    client_secret: str
    status: str
    amount: int
    amount_received: int
    amount_refunded: int
    currency: str

    @property
    def succeeded(self) -> bool:
        """Whether the whole amount was received and is still there."""
        return self.status == "succeeded" and self.amount_received >= self.amount and not self.amount_refunded

    @property
    def refunded(self) -> bool:
        """Whether nothing of what was received is left, as when nothing was."""
        return self.amount_refunded >= self.amount_received

    def __repr__(self) -> str:
        return f"Intent({self.id}, {self.status}, {self.amount} {self.currency})"  # never the client secret


@dataclass(frozen=True, slots=True)
class PaymentNotice:
    """What a payment webhook tells: how an order's intent ended, under the gateway's own event id."""

    order_id: int
    intent_id: str
    outcome: Literal["succeeded", "failed"]
    stripe_event_id: str


class PaymentGateway(Protocol):
    """Every method may raise PaymentsUnavailable; LookupError means that the gateway never had such an intent."""

    def create_intent(self, order_id: int, amount_in_cents: int, currency: str, idempotency_key: str) -> Intent:
        """A new intent for an order, or the one made before with the same idempotency key."""

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as the gateway knows it now."""
