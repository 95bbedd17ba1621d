"""The payments: one row an order, once something has happened to its payment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.actor import Actor
from ledger.order import order_id_of
from ledger.statuses import GIVEN_UP
from ledger.storage import Database
from ledger.storage.tables import Table
from projections.view import Change, EventFacts, Insert, Update, View

PAYMENTS = Table(
    "payments",
    {
        "order_id": "bigint",
        "phase": "text",
        "received": "bigint",
        "refunded": "bigint",
        "open_disputes": "bigint",
        "lost_disputes": "bigint",
        "lost": "bigint",
        "anomalies": "bigint",
        "recorded_at": "text",
    },
)


def _recorded(event: EventFacts) -> Iterator[Change]:
    totals = event.body["totals"]
    values = {
        "phase": totals["phase"] or "",
        "received": totals["received_in_cents"],
        "refunded": totals["refunded_in_cents"],
        "open_disputes": totals["open_disputes"],
        "lost_disputes": totals["lost_disputes"],
        "lost": totals["lost_in_cents"],
        "anomalies": totals["anomalies"],
        "recorded_at": event.body["timestamp"],
    }
    order_id = order_id_of(event.stream)
    if totals["records"] == 1:
        yield Insert((order_id, *values.values()))
    else:
        yield Update((order_id,), values)


VIEW = View("payments", 2, PAYMENTS, {"PaymentRecorded": _recorded})


@dataclass(frozen=True, slots=True)
class PaymentSummary:
    """An order's payment as it stands; amounts in cents. ``phase`` is the latest one of the intent, "" for none."""

    order_id: int
    order_status: str
    phase: str
    received: int
    refunded: int
    open_disputes: int
    lost_disputes: int
    lost: int
    anomalies: int

    @property
    def needs_refund(self) -> bool:
        """Whether money is kept for an order that will never be delivered."""
        return self.order_status in GIVEN_UP and self.received > self.refunded + self.lost


class PaymentReads:
    """The queries about payments. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def summary(self, order_id: int, reader: Actor) -> PaymentSummary | None:
        """An order's payment; ``None`` when there is no such order, or none that this reader may see."""
        query = (
            "SELECT orders.user_id, orders.status, phase, received, refunded, open_disputes, lost_disputes,"
            " lost, anomalies"
            " FROM orders LEFT JOIN payments USING (order_id) WHERE order_id = ?"
        )
        with self._database.read() as cursor:
            rows = cursor.execute(query, (order_id,))
        if not rows or not reader.may_see(rows[0][0]):
            return None
        _, status, phase, *numbers = rows[0]
        if phase is None:
            return PaymentSummary(order_id, status, "", 0, 0, 0, 0, 0, 0)
        return PaymentSummary(order_id, status, phase, *numbers)
