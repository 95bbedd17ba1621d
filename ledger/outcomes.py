"""What commands answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.events import OrderCreated
from ledger.payments.gateway import Intent, Refund
from ledger.statuses import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command on an order has led to; ``replayed`` when it was so already: by an earlier request with the same
    cause, or, when a notice is recorded, by whatever told the same.

    ``placed`` is what was recorded when this very command placed the order, so that nobody has to read it back.
    """

    order_id: int
    version: int
    status: Status
    replayed: bool = False
    placed: tuple[OrderCreated, Intent] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RefundOutcome:
    """What a refund has led to; ``replayed`` when an earlier request with the same cause made it."""

    order_id: int
    refund: Refund
    version: int
    replayed: bool = False
