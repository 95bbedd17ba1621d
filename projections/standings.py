"""What the ledger knows of orders and their payments, read in pages to be compared with the payment gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ledger.clock import rfc3339
from ledger.payments.comparison import Standing
from ledger.payments.gateway import Intent
from ledger.statuses import GIVEN_UP, UNPAID, Status
from ledger.storage.reservations import KEPT
from ledger.storage.tables import Row, marks
from projections.live import LiveViews
from projections.orders import NO_ORDER, placed_at

_SLACK = KEPT + timedelta(minutes=1)
"""Order ids are given out, and may be reserved, before orders are dated."""

_NOT_PAID = tuple(status.value for status in GIVEN_UP | UNPAID)

_COLUMNS = (
    "order_id, intent_id, status, coalesce(phase, ''), coalesce(received, 0), coalesce(refunded, 0),"
    " coalesce(lost, 0), coalesce(open_disputes, 0), coalesce(anomalies, 0), currency"
)
_FROM = "FROM {orders} JOIN payment_intents USING (order_id) LEFT JOIN {payments} USING (order_id)"


class StandingReads:
    """The queries of reconciliation (its Standings port). Every method may raise StorageUnavailable."""

    def __init__(self, views: LiveViews, *, page: int = 500) -> None:
        self._views = views
        self._page = page

    def of(self, intents: Sequence[Intent]) -> list[Standing]:
        """Where the orders stand that were recorded with these intents, or that these intents name."""
        found = self.with_intents([intent.id for intent in intents])
        named = self._among("order_id", [intent.order_id for intent in intents if intent.order_id is not None])
        return list({standing.order_id: standing for standing in (*found, *named)}.values())

    def with_intents(self, intent_ids: Sequence[str]) -> list[Standing]:
        """Where the orders stand that were recorded with these intents."""
        return self._among("intent_id", intent_ids)

    def placed_since(self, since: datetime) -> Iterator[list[Standing]]:
        """Every order placed since then, newest first, in pages by id."""
        query = f"SELECT document, {_COLUMNS} {_FROM} WHERE order_id < ? ORDER BY order_id DESC LIMIT ?"
        before, oldest = NO_ORDER, rfc3339(since - _SLACK)
        while True:
            rows = self._views.read(query, (before, self._page))
            recent = [row for row in rows if placed_at(row[0]) >= oldest]
            if recent:
                yield [_standing(row[1:]) for row in recent]
            if len(recent) < self._page:
                return
            before = rows[-1][1]

    def owing(self) -> Iterator[list[Standing]]:
        """Every order that money is kept for though it is given up or counts as unpaid, in pages by id."""
        query = (
            f"SELECT {_COLUMNS} {_FROM} WHERE received > refunded + lost"
            f" AND status IN ({marks(_NOT_PAID)}) AND order_id > ? ORDER BY order_id LIMIT ?"
        )
        last = 0
        while True:
            rows = self._views.read(query, (*_NOT_PAID, last, self._page))
            if not rows:
                return
            yield [_standing(row) for row in rows]
            last = rows[-1][0]

    def _among(self, column: str, values: Sequence[object]) -> list[Standing]:
        if not values:
            return []
        rows = self._views.read(f"SELECT {_COLUMNS} {_FROM} WHERE {column} IN ({marks(values)})", values)
        return [_standing(row) for row in rows]


def _standing(row: Row) -> Standing:
    order_id, intent_id, status, *payment = row
    return Standing(order_id, intent_id, Status(status), *payment)
