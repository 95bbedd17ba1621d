"""Stripe's webhooks: from a signed body to the notice of a payment that it brings.

Importing this imports the stripe library, so only a process that takes webhooks does.
Sources of the shapes: https://docs.stripe.com/api/events/object, /api/payment_intents/object, /api/charges/object,
/api/refunds/object, /api/disputes/object; of the signature: https://docs.stripe.com/webhooks#verify-manually
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stripe import SignatureVerificationError, WebhookSignature

from ledger.clock import rfc3339
from ledger.errors import ForgedNotice, MalformedNotice
from ledger.payments.gateway import PaymentKind, PaymentNotice
from ledger.payments.stripe_objects import Stamp

TOLERANCE = 300
"""Seconds for which a signature is good: Stripe's own default, and it signs anew whenever it sends again."""

_MAX_INTEGER = 2**53 - 1
_MAX_TIME = 253_402_300_799  # the last second of the year 9999

# What is kept in events is matched first: text of any other kind could not be stored everywhere.
_is_id = re.compile(r"[A-Za-z0-9_-]{1,255}").fullmatch
_is_word = re.compile(r"[A-Za-z0-9_.-]{1,100}").fullmatch
_is_currency = re.compile(r"[a-z]{3}").fullmatch


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A Stripe event: its id, by which it takes effect once, and what it tells of a payment (``None``: nothing)."""

    id: str
    notice: PaymentNotice | None


@dataclass(frozen=True, slots=True)
class _Told:
    """How an object tells a notice: which members are the intent's id and the amount, and whether it is one of several
    of its payment, known by an id and a status of its own."""

    kind: PaymentKind
    intent: str
    amount: str = "amount"
    one_of_several: bool = False


_REFUND = _Told(PaymentKind.REFUND, "payment_intent", one_of_several=True)
_DISPUTE = _Told(PaymentKind.DISPUTE, "payment_intent", one_of_several=True)
_TELLS = {
    "payment_intent.requires_action": _Told(PaymentKind.REQUIRES_ACTION, "id"),
    "payment_intent.processing": _Told(PaymentKind.PROCESSING, "id"),
    "payment_intent.amount_capturable_updated": _Told(PaymentKind.AUTHORIZED, "id"),
    "payment_intent.payment_failed": _Told(PaymentKind.FAILED, "id"),
    "payment_intent.canceled": _Told(PaymentKind.CANCELED, "id"),
    "payment_intent.succeeded": _Told(PaymentKind.RECEIVED, "id", "amount_received"),
    "charge.refunded": _Told(PaymentKind.REFUNDED, "payment_intent", "amount_refunded"),
    "refund.created": _REFUND,
    "refund.updated": _REFUND,
    "refund.failed": _REFUND,
    "charge.refund.updated": _REFUND,
    "charge.dispute.created": _DISPUTE,
    "charge.dispute.closed": _DISPUTE,
}
"""By event type; events of all other types tell the ledger nothing."""


class StripeWebhooks:
    """Reads webhooks that are signed with one of these secrets: two of them while one replaces the other.

    A signature is good for ``tolerance`` seconds.
    """

    def __init__(self, secrets: Sequence[str], stamp: Stamp, tolerance: int = TOLERANCE) -> None:
        self._secrets = tuple(secrets)
        self._stamp = stamp
        self._tolerance = tolerance

    def read(self, body: bytes, signature: str | None) -> WebhookEvent:
        """The event in ``body``, once the Stripe-Signature header has shown that Stripe sent these very bytes.

        Raises ForgedNotice when it does not show that. Raises MalformedNotice when an event that should tell of a
        payment can't be read: acknowledged, it would be lost, while Stripe goes on sending what is refused, and shows
        it to its account's people. May raise StorageUnavailable.
        """
        # The library compares signatures by a function that takes no other text.
        if not signature or not signature.isascii():
            raise ForgedNotice("The request has no Stripe-Signature header that could be one.")
        if not any(self._signs(secret, body, signature) for secret in self._secrets):
            raise ForgedNotice(
                "The Stripe-Signature header does not sign this body with a secret known here, or did so more than"
                f" {self._tolerance} seconds ago."
            )
        event = _Object(_parsed(body), "The event")
        return WebhookEvent(event.text("id", _is_id), _notice(event, self._stamp))

    def _signs(self, secret: str, body: bytes, signature: str) -> bool:
        try:
            return bool(WebhookSignature.verify_header(body, signature, secret, self._tolerance))
        except (SignatureVerificationError, UnicodeDecodeError):
            return False


class _Object:
    """A JSON object of an event; raises MalformedNotice for members that are not what Stripe documents."""

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            raise MalformedNotice(f"{name} is not a JSON object.")
        self._members: dict[str, Any] = value
        self._name = name

    def get(self, member: str) -> Any:
        """The member, whatever it is; ``None`` without one."""
        return self._members.get(member)

    def inner(self, member: str) -> _Object:
        """The member, which has to be an object."""
        return _Object(self.get(member), f"{self._name}'s {member}")

    def text(self, member: str, matches: Callable[[str], object]) -> str:
        """The member, which has to be such a text."""
        value = self.get(member)
        if not isinstance(value, str) or not matches(value):
            raise self._malformed(member)
        return value

    def integer(self, member: str, largest: int = _MAX_INTEGER) -> int:
        """The member, which has to be an integer from 0 to ``largest``."""
        value = self.get(member)
        if type(value) is not int or not 0 <= value <= largest:
            raise self._malformed(member)
        return value

    def _malformed(self, member: str) -> MalformedNotice:
        return MalformedNotice(f"{self._name}'s {member} is missing, or not what Stripe documents.")


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedNotice("The body is not JSON.") from error


def _notice(event: _Object, stamp: Stamp) -> PaymentNotice | None:
    told = _TELLS.get(event.text("type", str.isprintable))
    if told is None:
        return None
    about = event.inner("data").inner("object")
    if told.intent != "id" and about.get(told.intent) is None:
        return None  # a charge that was made without an intent is no order's
    return PaymentNotice(
        kind=told.kind,
        intent_id=about.text(told.intent, _is_id),
        amount=about.integer(told.amount),
        currency=about.text("currency", _is_currency),
        occurred_at=rfc3339(datetime.fromtimestamp(event.integer("created", _MAX_TIME), UTC)),
        order_id=stamp.order_id(about.get("metadata")),
        reference=about.text("id", _is_id) if told.one_of_several else None,
        detail=_detail(told, about),
    )


def _detail(told: _Told, about: _Object) -> str | None:
    if told.one_of_several:
        # A refund's status is null until there is one.
        unknown = told.kind is PaymentKind.REFUND and about.get("status") is None
        return "pending" if unknown else about.text("status", _is_word)
    if told.kind is not PaymentKind.FAILED:
        return None
    error = about.get("last_payment_error")
    if not isinstance(error, dict):
        return None
    # Only for people to read, so a code that can't be kept is no reason to refuse the notice of the failure.
    codes = (error.get("decline_code"), error.get("code"))
    return next((code for code in codes if isinstance(code, str) and _is_word(code)), None)
