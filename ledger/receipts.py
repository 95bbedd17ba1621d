"""Receipts: what a cause has led to already. The port that commands ask before they act twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
