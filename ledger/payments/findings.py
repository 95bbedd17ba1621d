"""What reconciliation finds and says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ledger.payments.comparison import Standing, money
from ledger.statuses import UNPAID


class State(StrEnum):
    """What has become of a finding."""

    MENDABLE = "mendable"
    MENDED = "mended"
    FOR_A_PERSON = "for a person"
    KNOWN = "known"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an order's payment; ``remedy`` says what was done or is to be done."""

    order_id: int
    intent_id: str
    what: str
    remedy: str
    state: State

    @property
    def differs(self) -> bool:
        """Whether ledger and gateway (still) disagree."""
        return self.state in {State.MENDABLE, State.FOR_A_PERSON}

    @property
    def needs_refund(self) -> bool:
        """Whether they agree on money that has to go back."""
        return self.state is State.KNOWN


@dataclass(frozen=True, slots=True)
class Batch:
    """How many intents or orders were compared, and what was found."""

    compared: int
    findings: list[Finding]


def owing(standing: Standing) -> Finding:
    """Money is kept for an order that does not have it coming."""
    kept = money(standing.received - standing.refunded - standing.lost, standing.currency)
    what = f"{kept} is kept, and the order is {standing.status}"
    remedy = "refund it, or move the order on" if standing.status in UNPAID else "refund it"
    return Finding(standing.order_id, standing.intent_id, what, remedy, State.KNOWN)


def noted(standing: Standing) -> Iterator[Finding]:
    """What somebody should look at, though both sides agree on it."""
    if standing.anomalies:
        what = f"anomalies are recorded: {standing.anomalies}"
        remedy = f"see `order-ledger replay {standing.order_id}`"
        yield Finding(standing.order_id, standing.intent_id, what, remedy, State.NOTED)
    if standing.open_disputes:
        what = f"disputes are open: {standing.open_disputes}"
        yield Finding(standing.order_id, standing.intent_id, what, "answer them in Stripe's dashboard", State.NOTED)
