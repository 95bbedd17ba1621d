"""Valid lives of a payment at Stripe, as notices in the order in which things happened, and ways to deliver them.

Source of what may follow what: https://docs.stripe.com/payments/paymentintents/lifecycle, https://docs.stripe.com/refunds
and https://docs.stripe.com/disputes/how-disputes-work
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from ledger.clock import rfc3339
from ledger.payments.gateway import PaymentKind, PaymentNotice
from ledger.statuses import Status

_BEGINNING = datetime(2026, 1, 1, 12, tzinfo=UTC)
_UNPAID_ENDS = {
    None: Status.PENDING,
    PaymentKind.REQUIRES_ACTION: Status.AWAITING_PAYMENT,
    PaymentKind.PROCESSING: Status.AWAITING_PAYMENT,
    PaymentKind.AUTHORIZED: Status.AWAITING_PAYMENT,
    PaymentKind.FAILED: Status.PAYMENT_FAILED,
    PaymentKind.CANCELED: Status.CANCELLED,
}
_REFUND_WAYS = (("succeeded",), ("pending",), ("pending", "succeeded"), ("requires_action",))


@dataclass
class Life:
    """All that happened to a payment, and what it has come to in the end."""

    intent_id: str
    amount: int
    notices: list[PaymentNotice] = field(default_factory=list)
    status: Status = Status.PENDING
    totals: dict[str, Any] = field(default_factory=dict)
    seconds: int = 0

    def tell(self, kind: PaymentKind, amount: int | None = None, **other: Any) -> None:
        """Something happens, a second after what happened before."""
        self.seconds += 1
        told = self.amount if amount is None else amount
        moment = rfc3339(_BEGINNING + timedelta(seconds=self.seconds))
        self.notices.append(PaymentNotice(kind, self.intent_id, told, "usd", moment, **other))


@st.composite
def lives(draw: st.DrawFn, intent_id: str, amount: int) -> Life:
    """Attempts that fail; then nothing, a cancellation, or a success with what may come after one."""
    life = Life(intent_id, amount)
    sums = ("received_in_cents", "refunded_in_cents", "open_disputes", "lost_disputes", "lost_in_cents")
    totals = dict.fromkeys(sums, 0)
    on_the_way = st.lists(st.sampled_from([PaymentKind.REQUIRES_ACTION, PaymentKind.PROCESSING]), unique=True)
    for _ in range(draw(st.integers(0, 2))):
        for kind in draw(on_the_way):
            life.tell(kind)
        life.tell(PaymentKind.FAILED, detail="card_declined")
    for kind in draw(on_the_way) + draw(st.sampled_from([[], [PaymentKind.AUTHORIZED]])):
        life.tell(kind)
    end = draw(st.sampled_from([None, PaymentKind.CANCELED, PaymentKind.RECEIVED, PaymentKind.RECEIVED]))
    if end is not None:
        life.tell(end)
    phase = life.notices[-1].kind if life.notices else None
    life.status = Status.ORDER_PAID if end is PaymentKind.RECEIVED else _UNPAID_ENDS[phase]
    if end is PaymentKind.RECEIVED:
        totals["received_in_cents"] = amount
        totals["refunded_in_cents"] = draw(_refunds(life))
        totals |= draw(_disputes(life))
    life.totals = {"phase": phase and phase.value, **totals}
    return life


@st.composite
def _refunds(draw: st.DrawFn, life: Life) -> int:
    """Refunds of parts, some of which fail after all; returns what has gone back in the end."""
    gone = 0
    for number in range(draw(st.integers(0, 3))):
        if gone == life.amount:
            break
        reference, part = f"re_{life.intent_id}_{number}", draw(st.integers(1, life.amount - gone))
        for status in draw(st.sampled_from(_REFUND_WAYS)):
            life.tell(PaymentKind.REFUND, part, reference=reference, detail=status)
        gone += part
        life.tell(PaymentKind.REFUNDED, gone)
        if draw(st.integers(0, 3)) == 0:
            undone = draw(st.sampled_from(["failed", "canceled"]))
            life.tell(PaymentKind.REFUND, part, reference=reference, detail=undone)
            gone -= part
    return gone


@st.composite
def _disputes(draw: st.DrawFn, life: Life) -> dict[str, int]:
    """Disputes, open or decided; returns what they come to in the end."""
    lost = 0
    ends = draw(st.lists(st.sampled_from([None, "won", "lost", "warning_closed"]), max_size=2))
    for number, end in enumerate(ends):
        reference = f"dp_{life.intent_id}_{number}"
        begin = "warning_needs_response" if end == "warning_closed" else "needs_response"
        part = draw(st.integers(1, life.amount))
        life.tell(PaymentKind.DISPUTE, part, reference=reference, detail=begin)
        if end is not None:
            life.tell(PaymentKind.DISPUTE, part, reference=reference, detail=end)
        lost += part if end == "lost" else 0
    return {"open_disputes": ends.count(None), "lost_disputes": ends.count("lost"), "lost_in_cents": lost}


def deliveries(notices: Sequence[PaymentNotice]) -> st.SearchStrategy[list[PaymentNotice]]:
    """The notices in any order, each of them once or several times."""
    if not notices:
        return st.just([])
    return st.lists(st.sampled_from(notices), max_size=6).flatmap(lambda again: st.permutations([*notices, *again]))
