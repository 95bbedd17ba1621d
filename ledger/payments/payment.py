"""What is known of an order's payment: the sum of its notices, whatever the order they came in.

Notices come late, twice and shuffled. So every part of a Payment is the greatest that was told, in some order of its
own: the phase by how final and then how late it is, sums by size, refunds and disputes by how final their status is.
Learning the same notices in any order, any number of times, ends in the same Payment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypedDict

from ledger.payments.gateway import UNDONE, PaymentKind, PaymentNotice
from ledger.statuses import Status

_PHASES = {
    PaymentKind.REQUIRES_ACTION: Status.AWAITING_PAYMENT,
    PaymentKind.PROCESSING: Status.AWAITING_PAYMENT,
    PaymentKind.AUTHORIZED: Status.AWAITING_PAYMENT,
    PaymentKind.FAILED: Status.PAYMENT_FAILED,
    PaymentKind.CANCELED: Status.CANCELLED,
    PaymentKind.RECEIVED: Status.ORDER_PAID,
}
"""The phases of an intent, and the status that each moves an unpaid order to. Refunds and disputes move none: what
becomes of the goods is for people to say."""

_RANK = {kind: rank for rank, kind in enumerate(_PHASES, 1)}
"""Which of two phases that were told of the same second is the later one."""

_FINAL = frozenset({PaymentKind.CANCELED, PaymentKind.RECEIVED})
_REFUND_RANK = {"succeeded": 1, "failed": 2, "canceled": 2}
_DISPUTE_RANK = {"warning_closed": 1, "prevented": 1, "charge_refunded": 1, "lost": 2, "won": 3}
"""How final statuses are; those that are not here are all under way. A lost dispute may yet be won."""

_PhaseOrder = tuple[int, str, int]


class PaymentTotals(TypedDict):
    """What all records of an order's payment come to, as each one stores it; ``records`` counts them."""

    records: int
    phase: str | None
    received_in_cents: int
    refunded_in_cents: int
    open_disputes: int
    lost_disputes: int
    lost_in_cents: int
    anomalies: int


class _State(NamedTuple):
    """A refund or a dispute as far as it is known; greater is later."""

    rank: int
    status: str
    amount: int


@dataclass(frozen=True)
class Payment:
    """An order's payment. Amounts are in cents; ``refunds`` and ``disputes`` are by id."""

    phase: PaymentKind | None = None
    phase_order: _PhaseOrder = (0, "", 0)
    received: int = 0
    refunded_at_once: int = 0
    refunds: Mapping[str, _State] = field(default_factory=dict)
    disputes: Mapping[str, _State] = field(default_factory=dict)
    anomalies: frozenset[tuple[str, ...]] = frozenset()

    @property
    def refunded(self) -> int:
        """What went back, or is on its way: a refund that failed did not.

        The charge's own sum and the refunds one by one each miss what has not been told yet.
        """
        undone = sum(refund.amount for refund in self.refunds.values() if refund.status in UNDONE)
        return max(self.refunded_at_once, sum(refund.amount for refund in self.refunds.values())) - undone

    @property
    def open_disputes(self) -> int:
        """Disputes that nobody has decided."""
        return sum(dispute.status not in _DISPUTE_RANK for dispute in self.disputes.values())

    @property
    def lost_disputes(self) -> int:
        """Disputes that took money away."""
        return sum(dispute.status == "lost" for dispute in self.disputes.values())

    @property
    def lost(self) -> int:
        """The money that they took away."""
        return sum(dispute.amount for dispute in self.disputes.values() if dispute.status == "lost")

    def after(self, notice: PaymentNotice) -> Payment:
        """The payment when this is known, too: an equal one when it was."""
        known = self._after_money(notice)
        if notice.kind not in _PHASES or _phase_order(notice) <= self.phase_order:
            return known
        return replace(known, phase=notice.kind, phase_order=_phase_order(notice))

    def after_anomaly(self, notice: PaymentNotice, money: PaymentNotice | None) -> Payment:
        """The payment when something that does not fit is told of it; ``money``: what of it counts even so, if any.

        It is no phase of the payment: the order goes by what fits.
        """
        what = (notice.kind, notice.intent_id, str(notice.amount), notice.currency, notice.reference or "")
        known = self._after_money(money) if money else self
        return replace(known, anomalies=self.anomalies | {what})

    def status_after(self, notice: PaymentNotice) -> Status | None:
        """The status that this notice, once known, moves an unpaid order to; ``None`` when a later phase is known."""
        if notice.kind in _PHASES and _phase_order(notice) == self.phase_order:
            return _PHASES[notice.kind]
        return None

    def totals(self, records: int) -> PaymentTotals:
        """What it all comes to, after so many records."""
        return {
            "records": records,
            "phase": self.phase,
            "received_in_cents": self.received,
            "refunded_in_cents": self.refunded,
            "open_disputes": self.open_disputes,
            "lost_disputes": self.lost_disputes,
            "lost_in_cents": self.lost,
            "anomalies": len(self.anomalies),
        }

    def _after_money(self, notice: PaymentNotice) -> Payment:
        reference, status = str(notice.reference), str(notice.detail)
        match notice.kind:
            case PaymentKind.RECEIVED:
                return replace(self, received=max(self.received, notice.amount))
            case PaymentKind.REFUNDED:
                return replace(self, refunded_at_once=max(self.refunded_at_once, notice.amount))
            case PaymentKind.REFUND:
                refund = _State(_REFUND_RANK.get(status, 0), status, notice.amount)
                return replace(self, refunds=_with_greater(self.refunds, reference, refund))
            case PaymentKind.DISPUTE:
                dispute = _State(_DISPUTE_RANK.get(status, 0), status, notice.amount)
                return replace(self, disputes=_with_greater(self.disputes, reference, dispute))
            case _:
                return self


def anomaly_of(notice: PaymentNotice, intent_id: str, amount: int, currency: str) -> str | None:
    """What does not fit about a notice, to an order of this intent and amount; ``None`` when it fits.

    Of another intent, only that money came by it is the order's business.
    """
    if notice.intent_id != intent_id:
        return "received by another payment intent" if notice.kind is PaymentKind.RECEIVED else None
    fits = notice.amount == amount if notice.kind in _PHASES else notice.amount <= amount
    if fits and notice.currency == currency:
        return None
    return f"{notice.kind.value} {notice.amount} {notice.currency} for an order of {amount} {currency}"


def _phase_order(notice: PaymentNotice) -> _PhaseOrder:
    rank = _RANK[notice.kind]
    # When a payment has ended does not matter, and the owner's confirmation tells it at another time than the webhook.
    return (rank, "", rank) if notice.kind in _FINAL else (0, notice.occurred_at, rank)


def _with_greater(known: Mapping[str, _State], reference: str, told: _State) -> Mapping[str, _State]:
    return {**known, reference: max(known.get(reference, told), told)}
