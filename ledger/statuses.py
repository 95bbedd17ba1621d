"""The statuses of an order and the table of moves between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from ledger.errors import UnknownStatus


class Status(StrEnum):
    """An order's status, written in the lower snake case in which the API answers it."""

    PENDING = "pending"
    AWAITING_PAYMENT = "awaiting_payment"
    PAYMENT_FAILED = "payment_failed"
    ORDER_PAID = "order_paid"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DECLINED = "declined"


_CLOSING = {Status.COMPLETED, Status.CANCELLED, Status.DECLINED}

TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.AWAITING_PAYMENT, Status.PAYMENT_FAILED, Status.ORDER_PAID, *_CLOSING}),
        Status.AWAITING_PAYMENT: frozenset({Status.PAYMENT_FAILED, Status.ORDER_PAID, *_CLOSING}),
        Status.PAYMENT_FAILED: frozenset({Status.AWAITING_PAYMENT, Status.ORDER_PAID, *_CLOSING}),
        Status.ORDER_PAID: frozenset({Status.SHIPPED, Status.COMPLETED, Status.CANCELLED}),
        Status.SHIPPED: frozenset({Status.COMPLETED}),
        Status.COMPLETED: frozenset(),
        Status.CANCELLED: frozenset(),
        Status.DECLINED: frozenset(),
    }
)
"""From each status, the statuses an order may move to."""

UNPAID = frozenset({Status.PENDING, Status.AWAITING_PAYMENT, Status.PAYMENT_FAILED})

GIVEN_UP = frozenset({Status.CANCELLED, Status.DECLINED})
"""Nothing will be delivered: money that is kept for such an order has to go back."""

_WORD_BREAK = re.compile("[ _-]")


def parse_status(text: str) -> Status:
    """Reads a status written in any case with space, ``_`` or ``-`` between words ("Order Paid", "order-paid").

    Raises UnknownStatus for anything else.
    """
    try:
        return Status(_WORD_BREAK.sub("_", text).lower())
    except ValueError:
        raise UnknownStatus(f"There is no status {text[:40]!r}; use one of: {', '.join(Status)}.") from None
