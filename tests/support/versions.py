"""A release that is newer than this one: its orders have a column more, and there is a view that is new."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ledger.storage.tables import Table
from projections import orders
from projections.store import VIEWS
from projections.view import Change, EventFacts, Insert, Update, View


def _created(event: EventFacts) -> Iterator[Change]:
    for change in orders.VIEW.handlers["OrderCreated"](event):
        assert isinstance(change, Insert)
        yield Insert((*change.row, event.body.amount_in_cents))


def _placed(event: EventFacts) -> Iterator[Change]:
    yield Insert((event.body.order_id, event.body.amount_in_cents, 1))


def _moved(event: EventFacts) -> Iterator[Change]:
    yield Update((int(event.stream.removeprefix("order-")),), {"last_version": event.version})


ORDERS_V2 = View(
    "orders",
    2,
    replace(orders.ORDERS, name="orders_v2", columns={**orders.ORDERS.columns, "amount": "bigint"}),
    {**orders.VIEW.handlers, "OrderCreated": _created},
    previous=orders.VIEW,
)
TURNOVER = View(
    "turnover",
    1,
    Table("turnover", {"order_id": "bigint", "amount": "bigint", "last_version": "bigint"}),
    {"OrderCreated": _placed, "StatusChanged": _moved, "PaymentRecorded": _moved},
)
NEXT = (ORDERS_V2, *VIEWS[1:], TURNOVER)
"""The views of the newer release."""
