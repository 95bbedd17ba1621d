"""What the ledger knows of orders and their payments, read in pages to be compared with the payment gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.payments.comparison import Standing
from ledger.payments.gateway import Intent
from ledger.statuses import GIVEN_UP, UNPAID, Status
from ledger.storage.tables import Row
from projections.live import LiveViews

_SELECT = (
    "SELECT order_id, intent_id, status, coalesce(phase, ''), coalesce(received, 0), coalesce(refunded, 0), currency"
    " FROM {orders} JOIN payment_intents USING (order_id) LEFT JOIN {payments} USING (order_id)"
)


class StandingReads:
    """The queries of reconciliation (its Standings port). Every method may raise StorageUnavailable."""

    def __init__(self, views: LiveViews, *, page: int = 500) -> None:
        self._views = views
        self._page = page

    def of(self, intents: Sequence[Intent]) -> list[Standing]:
        """Where the orders stand that were recorded with these intents, or that these intents name."""
        found = self._among("intent_id", [intent.id for intent in intents])
        named = self._among("order_id", [intent.order_id for intent in intents if intent.order_id is not None])
        return list({standing.order_id: standing for standing in (*found, *named)}.values())

    def unpaid(self) -> Iterator[list[Standing]]:
        """Every order that waits for its payment, in pages by id."""
        return self._pages(f"status IN ({_marks(UNPAID)})", UNPAID)

    def owing(self) -> Iterator[list[Standing]]:
        """Every order that money is kept for though nothing will be delivered, in pages by id."""
        return self._pages(f"received > refunded AND status IN ({_marks(GIVEN_UP)})", GIVEN_UP)

    def _among(self, column: str, values: Sequence[object]) -> list[Standing]:
        if not values:
            return []
        rows = self._views.read(f"{_SELECT} WHERE {column} IN ({_marks(values)})", values)
        return [_standing(row) for row in rows]

    def _pages(self, condition: str, statuses: frozenset[Status]) -> Iterator[list[Standing]]:
        query = f"{_SELECT} WHERE {condition} AND order_id > ? ORDER BY order_id LIMIT ?"
        last = 0
        while True:
            rows = self._views.read(query, (*(status.value for status in statuses), last, self._page))
            if not rows:
                return
            yield [_standing(row) for row in rows]
            last = rows[-1][0]


def _marks(values: Sequence[object] | frozenset[Status]) -> str:
    return ", ".join("?" * len(values))


def _standing(row: Row) -> Standing:
    order_id, intent_id, status, *payment = row
    return Standing(order_id, intent_id, Status(status), *payment)
