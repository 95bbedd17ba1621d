"""What commands answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ledger.events import OrderCreated
from ledger.leads import LeadMove
from ledger.payments.gateway import Intent, Refund
from ledger.statuses import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command on an order has led to; ``replayed`` when it was so already: by an earlier request with the same
    cause, or, when a notice is recorded, by whatever told the same.

    ``position`` is that of the last event that this very command has recorded, ``None`` when there was none. ``placed``
    is what was recorded when it placed the order, so that nobody has to read it back.
    """

    order_id: int
    version: int
    status: Status
    replayed: bool = False
    position: int | None = field(default=None, compare=False)
    placed: tuple[OrderCreated, Intent] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RefundOutcome:
    """What a refund has led to; ``replayed`` when an earlier request with the same cause made it, else ``position`` is
    that of its event."""

    order_id: int
    refund: Refund
    version: int
    replayed: bool = False
    position: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Arranged:
    """The lead statuses that were named or have moved, by place; ``position`` as in Outcome."""

    moves: Sequence[LeadMove]
    version: int
    replayed: bool = False
    position: int | None = field(default=None, compare=False)


Result: TypeAlias = Outcome | RefundOutcome | Arranged
