"""What is known of an order's payment: the sum of its notices, whatever the order they came in.

Notices come late, twice and shuffled. So each part of a Payment only ever grows in some order of its own: the phase by
(final, time, rank), amounts by size, refunds and disputes by how final their status is. Learning the same notices in
any order, any number of times, ends in the same Payment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

from ledger.payments.gateway import PaymentKind, PaymentNotice

_RANK = {
    PaymentKind.REQUIRES_ACTION: 1,
    PaymentKind.PROCESSING: 2,
    PaymentKind.AUTHORIZED: 3,
    PaymentKind.FAILED: 4,
    PaymentKind.CANCELED: 5,
    PaymentKind.RECEIVED: 6,
}
_FINAL = frozenset({PaymentKind.CANCELED, PaymentKind.RECEIVED})
_UNDONE = frozenset({"failed", "canceled"})
_REFUND_RANK = {"pending": 0, "requires_action": 0, "succeeded": 1, "failed": 2, "canceled": 2}
_CLOSED = frozenset({"won", "lost", "warning_closed"})

PhaseOrder = tuple[int, str, int]
Refunds = Mapping[str, tuple[int, str]]


class PaymentTotals(TypedDict):
    """What all records of an order's payment come to, as each one stores it; ``records`` counts them."""

    records: int
    phase: str | None
    received_in_cents: int
    refunded_in_cents: int
    open_disputes: int
    lost_disputes: int
    anomalies: int


@dataclass(frozen=True)
class Payment:
    """An order's payment. Amounts are in cents; ``refunds`` are (amount, status) and ``disputes`` statuses, by id."""

    phase: PaymentKind | None = None
    phase_order: PhaseOrder = (0, "", 0)
    received: int = 0
    refunded_at_once: int = 0
    refunds: Refunds = field(default_factory=dict)
    disputes: Mapping[str, str] = field(default_factory=dict)
    anomalies: frozenset[tuple[str, ...]] = frozenset()

    @property
    def refunded(self) -> int:
        """What went back, or is on its way: a refund that failed did not.

        The charge's own sum and the refunds one by one each miss what has not been told yet.
        """
        undone = sum(amount for amount, status in self.refunds.values() if status in _UNDONE)
        return max(self.refunded_at_once, sum(amount for amount, _ in self.refunds.values())) - undone

    @property
    def open_disputes(self) -> int:
        """Disputes that nobody has decided."""
        return sum(status not in _CLOSED for status in self.disputes.values())

    @property
    def lost_disputes(self) -> int:
        """Disputes that took the money away."""
        return sum(status == "lost" for status in self.disputes.values())

    def after(self, notice: PaymentNotice) -> Payment:
        """The payment when this is known, too: an equal one when it was."""
        if notice.kind in _RANK:
            return self._in_phase(notice)
        if notice.kind is PaymentKind.REFUNDED:
            return replace(self, refunded_at_once=max(self.refunded_at_once, notice.amount))
        assert notice.reference is not None and notice.detail is not None  # noqa: S101, PT018  as both kinds have
        if notice.kind is PaymentKind.REFUND:
            known = self.refunds.get(notice.reference, (0, ""))
            latest = max(known, (notice.amount, notice.detail), key=lambda refund: _REFUND_RANK.get(refund[1], -1))
            return replace(self, refunds={**self.refunds, notice.reference: latest})
        status = max(
            self.disputes.get(notice.reference, ""), notice.detail, key=lambda status: (status in _CLOSED, status)
        )
        return replace(self, disputes={**self.disputes, notice.reference: status})

    def with_anomaly(self, notice: PaymentNotice) -> Payment:
        """The payment when something has happened to it that should not."""
        what = (notice.kind, notice.intent_id, str(notice.amount), notice.currency, notice.reference or "")
        return replace(self, anomalies=self.anomalies | {what})

    def is_in(self, notice: PaymentNotice) -> bool:
        """Whether this notice tells the latest phase."""
        return notice.kind in _RANK and _phase_order(notice) == self.phase_order

    def totals(self, records: int) -> PaymentTotals:
        """What it all comes to, after so many records."""
        return {
            "records": records,
            "phase": self.phase,
            "received_in_cents": self.received,
            "refunded_in_cents": self.refunded,
            "open_disputes": self.open_disputes,
            "lost_disputes": self.lost_disputes,
            "anomalies": len(self.anomalies),
        }

    def _in_phase(self, notice: PaymentNotice) -> Payment:
        order = _phase_order(notice)
        received = max(self.received, notice.amount) if notice.kind is PaymentKind.RECEIVED else self.received
        if order <= self.phase_order:
            return replace(self, received=received)
        return replace(self, phase=notice.kind, phase_order=order, received=received)


def anomaly_of(notice: PaymentNotice, intent_id: str, amount: int, currency: str) -> str | None:
    """What does not fit about a notice, to an order of this intent and amount; ``None`` when it fits.

    Of another intent, only that money came by it is the order's business.
    """
    told, due = f"{notice.amount} {notice.currency}", f"{amount} {currency}"
    if notice.intent_id != intent_id:
        return "received by another payment intent" if notice.kind is PaymentKind.RECEIVED else None
    if notice.currency != currency or notice.amount > amount:
        return f"{told} is told of an order of {due}"
    if notice.kind is PaymentKind.RECEIVED and notice.amount < amount:
        return f"{told} was received for an order of {due}"
    return None


def _phase_order(notice: PaymentNotice) -> PhaseOrder:
    rank = _RANK[notice.kind]
    return (rank if notice.kind in _FINAL else 0, notice.occurred_at, rank)
