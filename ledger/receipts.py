"""Receipts: what a cause has led to already. The port that commands ask before they act twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from ledger.actor import Actor, Cause
from ledger.errors import IdempotencyKeyReused
from ledger.statuses import Status

STRIPE = "stripe"
"""The source of Stripe event ids."""


def user_source(user_id: int) -> str:
    """The source of a user's idempotency keys: keys are per user."""
    return f"user-{user_id}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The event that a cause has led to: its order, the order's version and status with it."""

    request_hash: str
    order_id: int
    version: int
    status: Status


class Receipts(Protocol):
    """Finds receipts in the idempotency index."""

    def find(self, source: str, key: str) -> Receipt | None:
        """The receipt of a cause, or ``None``. May raise StorageUnavailable."""


def receipt_of(receipts: Receipts, actor: Actor, cause: Cause) -> Receipt | None:
    """The receipt of what this cause has led to before; ``None`` when to nothing, or when repeats can't be told.

    Raises IdempotencyKeyReused when the key came with another request, and StorageUnavailable.
    """
    if cause.stripe_event_id is not None:
        return receipts.find(STRIPE, cause.stripe_event_id)
    if cause.idempotency_key is None or actor.user is None:
        return None
    receipt = receipts.find(user_source(actor.user), cause.idempotency_key)
    if receipt is not None and receipt.request_hash != cause.request_hash:
        raise IdempotencyKeyReused("This Idempotency-Key was used before, for another request.")
    return receipt


def key_digest(actor: Actor, cause: Cause) -> str | None:
    """Tells a user's idempotency key from all others, whatever request comes with it; ``None`` without a key."""
    if cause.idempotency_key is None:
        return None
    return hashlib.sha256(f"{actor.user}\n{cause.idempotency_key}".encode()).hexdigest()


def request_digest(actor: Actor, cause: Cause, *sent: object) -> str | None:
    """Tells a client's request, and what is sent to the gateway for it, from all others; ``None`` without a key."""
    if cause.idempotency_key is None:
        return None
    parts = (actor.user, cause.idempotency_key, cause.request_hash, *sent)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
