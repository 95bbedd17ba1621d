"""Whose payment an intent is."""

from __future__ import annotations

from ledger.storage.database import Database


class IntentOrders:
    """Finds orders by their payment intents. May raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def order_of(self, intent_id: str) -> int | None:
        """The order that was recorded with this intent; ``None`` when no order was."""
        with self._database.read() as cursor:
            rows = cursor.execute("SELECT order_id FROM payment_intents WHERE intent_id = ?", (intent_id,))
        return rows[0][0] if rows else None
