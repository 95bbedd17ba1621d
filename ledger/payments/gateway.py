"""The payment gateway as the ledger sees it: a port with Stripe's objects as its model.

Sources of the shapes: https://docs.stripe.com/api/payment_intents/object, /api/refunds/object, /api/disputes/object
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from ledger.errors import IdempotencyKeyReused

OPEN_INTENT = frozenset({"requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"})
"""The statuses of an intent that nobody has paid yet, and that can be cancelled."""


UNDONE = frozenset({"failed", "canceled"})
"""The statuses of refunds that did not come about."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent: amounts in the currency's smallest unit, ``status`` in Stripe's words.

    ``order_id`` is the order named in its metadata, if any; ``created`` is when the gateway made it, where it is known;
    ``failure`` is the gateway's code for why the last attempt to pay failed, if it did.
    """

    id: str
    client_secret: str
    status: str
    amount: int
    amount_received: int
    amount_refunded: int
    currency: str
    order_id: int | None = None
    created: datetime | None = None
    failure: str | None = None

    @property
    def open(self) -> bool:
        """Whether it can still be paid, and be cancelled."""
        return self.status in OPEN_INTENT

    @property
    def succeeded(self) -> bool:
        """Whether the whole amount was received and not all of it has gone back."""
        return self.status == "succeeded" and self.amount_received >= self.amount and not self.refunded

    @property
    def refunded(self) -> bool:
        """Whether nothing of what was received is left, as when nothing was."""
        return self.amount_refunded >= self.amount_received

    def __repr__(self) -> str:
        return f"Intent({self.id}, {self.status}, {self.amount} {self.currency})"  # never the client secret


class PaymentKind(StrEnum):
    """What a notice tells. The first six are phases of the intent; the others are about money that came."""

    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    FAILED = "failed"
    CANCELED = "canceled"
    RECEIVED = "received"
    REFUNDED = "refunded"
    REFUND = "refund"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True)
class PaymentNotice:
    """Something that happened to a payment, as the gateway tells it.

    ``amount`` is in the currency's smallest unit: of RECEIVED and REFUNDED all so far, of REFUND and DISPUTE that of
    the one which ``reference`` names (and ``detail`` is its status), else that of the intent. ``detail`` of FAILED is
    the gateway's code for why. ``occurred_at`` is RFC 3339 in UTC, as ``ledger.clock.rfc3339`` writes it.
    """

    kind: PaymentKind
    intent_id: str
    amount: int
    currency: str
    occurred_at: str
    order_id: int | None = None
    reference: str | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a refund or dispute without its id and status: no sum could be made of it."""
        if self.kind in {PaymentKind.REFUND, PaymentKind.DISPUTE} and not (self.reference and self.detail):
            raise ValueError(f"a {self.kind.value} needs the id and the status of what it tells of")


@dataclass(frozen=True, slots=True)
class _Part:
    """One of several things that happen to money that came; ``status`` is Stripe's word for how far it is."""

    KIND: ClassVar[PaymentKind]

    id: str
    intent_id: str
    amount: int
    currency: str
    status: str

    def notice(self, occurred_at: str) -> PaymentNotice:
        """What it tells an order; ``occurred_at`` as in notices."""
        return PaymentNotice(
            kind=self.KIND,
            intent_id=self.intent_id,
            amount=self.amount,
            currency=self.currency,
            occurred_at=occurred_at,
            reference=self.id,
            detail=self.status,
        )


@dataclass(frozen=True, slots=True)
class Refund(_Part):
    """One refund; ``status`` is pending, requires_action, succeeded, failed or canceled."""

    KIND = PaymentKind.REFUND


@dataclass(frozen=True, slots=True)
class Dispute(_Part):
    """One dispute; ``status`` is needs_response, under_review, won, lost or another."""

    KIND = PaymentKind.DISPUTE


def check_repeated(made: Refund, amount_in_cents: int | None, intent: Intent) -> None:
    """Raises IdempotencyKeyReused when the refund that a key stands for is not what is asked for now.

    That was all that was left (``None``), if nothing of the intent is left beside it.
    """
    undone = made.amount if made.status in UNDONE else 0
    left = intent.amount_received - intent.amount_refunded - undone
    same = left <= 0 if amount_in_cents is None else amount_in_cents == made.amount
    if not same or made.intent_id != intent.id:
        raise IdempotencyKeyReused("This Idempotency-Key stands for a refund of another amount, or payment.")


class PaymentGateway(Protocol):
    """Every method may raise PaymentsUnavailable, and UnknownPayment when the gateway never had such an intent."""

    def create_intent(self, order_id: int | None, amount_in_cents: int, currency: str, idempotency_key: str) -> Intent:
        """A new intent for an order (``None``: for none), or the one made before with the same idempotency key.

        Raises InvalidAmount when the gateway does not take such an amount.
        """

    def owns(self, intent_id: str) -> bool:
        """Whether an intent with such an id can be this gateway's. Asks nobody."""

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as the gateway knows it now."""

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancels the intent if it is open, and returns it as it is then: look at its status, it may have been paid."""

    def refund(self, intent_id: str, amount_in_cents: int | None, idempotency_key: str) -> Refund:
        """Refunds an amount, or (``None``) all that is left; the same key, the same refund.

        Raises RefundRefused when nothing, or less than that, is left to refund, and IdempotencyKeyReused when the key
        stands for a refund of another amount.
        """

    def list_intents(self, since: datetime) -> Iterator[Intent]:
        """Every intent made since then, newest first, page by page."""

    def list_refunds(self, intent_id: str) -> Iterator[Refund]:
        """Every refund of an intent, newest first, page by page."""

    def list_disputes(self, since: datetime) -> Iterator[Dispute]:
        """Every dispute begun since then, newest first, page by page."""
