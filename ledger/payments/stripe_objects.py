"""What Stripe's objects say, in the ledger's words.

Sources: https://docs.stripe.com/api/payment_intents/object, /api/refunds/object, /api/disputes/object, /api/metadata
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import stripe

from ledger.payments.gateway import Dispute, Intent, Refund

_ORDER, _LEDGER = "order_id", "ledger_id"
_is_order_id = re.compile(r"[1-9][0-9]{0,15}").fullmatch
_MAX_INTEGER = 2**53 - 1


class Stamp:
    """Marks the intents of one ledger's orders, in their metadata.

    Others may use the same account, and the same words: an intent is an order's only with this ledger's id beside it.
    """

    def __init__(self, ledger_id: Callable[[], str]) -> None:
        self._ledger_id = ledger_id

    def metadata(self, order_id: int | None) -> dict[str, str]:
        """The metadata of an order's intent; ``None``: of one that belongs to no order."""
        return {} if order_id is None else {_ORDER: str(order_id), _LEDGER: self._ledger_id()}

    def order_id(self, metadata: object) -> int | None:
        """The order of this ledger that the metadata name; ``None`` when they are another's, or no metadata at all."""
        if not isinstance(metadata, Mapping):
            return None
        text = metadata.get(_ORDER)
        if not isinstance(text, str) or not _is_order_id(text) or int(text) > _MAX_INTEGER:
            return None
        return int(text) if metadata.get(_LEDGER) == self._ledger_id() else None


def intent_of(found: stripe.PaymentIntent, stamp: Stamp) -> Intent:
    """An intent; what was refunded of it only when its ``latest_charge`` is expanded."""
    charge, failure = found.latest_charge, found.last_payment_error
    return Intent(
        id=found.id,
        client_secret=found.client_secret or "",
        status=found.status,
        amount=found.amount,
        amount_received=found.amount_received,
        amount_refunded=charge.amount_refunded if isinstance(charge, stripe.Charge) else 0,
        currency=found.currency,
        order_id=stamp.order_id(found.metadata.to_dict()),
        created=datetime.fromtimestamp(found.created, UTC),
        failure=getattr(failure, "decline_code", None) or getattr(failure, "code", None),  # absent where they are not
    )


def refund_of(found: stripe.Refund, intent_id: str) -> Refund:
    """A refund of this intent; Stripe's status is null until there is one."""
    return Refund(found.id, intent_id, found.amount, found.currency, found.status or "pending")


def dispute_of(found: stripe.Dispute) -> Dispute | None:
    """A dispute; ``None`` when its charge was made without an intent."""
    intent = found.payment_intent
    intent_id = intent.id if isinstance(intent, stripe.PaymentIntent) else intent
    return Dispute(found.id, intent_id, found.amount, found.currency, found.status) if intent_id else None
