"""The sandbox gateway for orders that are made in bulk: what happens to their intents is written with their events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ledger.clock import Clock
from ledger.errors import UnknownPayment
from ledger.payments.gateway import Intent, PaymentNotice
from ledger.payments.sandbox import SandboxGateway
from ledger.storage.database import Database
from ledger.storage.tables import Row, Table, TableWrites

SETTLEMENTS = Table(
    "sandbox_settlements",
    {"intent_id": "text", "status": "text", "amount_received": "bigint", "amount_refunded": "bigint"},
)
_STATE = tuple(SETTLEMENTS.columns)[1:]


class BulkSandbox(SandboxGateway):
    """A PaymentGateway that remembers the intents it makes, until they are forgotten, and asks no database for them."""

    def __init__(self, database: Database, *, new_token: Callable[[], str], clock: Clock) -> None:
        super().__init__(database, new_token=new_token, clock=clock)
        self._intents: dict[str, Intent] = {}
        self._kept: dict[str, Row] = {}  # the rows that the database has
        self._changed: set[str] = set()

    def create_intent(self, order_id: int | None, amount_in_cents: int, currency: str, idempotency_key: str) -> Intent:
        """A new intent, which is remembered."""
        intent = super().create_intent(order_id, amount_in_cents, currency, idempotency_key)
        self._intents[intent.id] = intent
        return intent

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is remembered. Raises UnknownPayment when it is not."""
        try:
            return self._intents[intent_id]
        except KeyError:
            raise UnknownPayment("This payment was not begun here, or is forgotten.") from None

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancels the intent unless it was paid or cancelled before, and returns it."""
        intent = self.retrieve_intent(intent_id)
        if intent.open:
            intent = self._keep(replace(intent, status="canceled"))
        return intent

    def settle_intent(self, intent_id: str, *, fail: bool) -> PaymentNotice:
        """As ``settle`` does for an order, for an intent that is remembered."""
        intent, notice = self._settled(self.retrieve_intent(intent_id), fail=fail)
        self._keep(intent)
        return notice

    def writes(self) -> TableWrites:
        """What has changed since it was last ``written``."""
        writes = TableWrites(SETTLEMENTS)
        for intent_id in sorted(self._changed):
            row = self._row(intent_id)
            if intent_id not in self._kept:
                writes.inserts.append(row)
            elif row != self._kept[intent_id]:
                writes.updates.setdefault(_STATE, []).append((*row[1:], intent_id))
        return writes

    def written(self) -> None:
        """Notes that the writes are in the database."""
        self._kept.update((intent_id, self._row(intent_id)) for intent_id in self._changed)
        self._changed.clear()

    def differs(self, intent_id: str) -> bool:
        """Whether the database has the intent in another state than was written."""
        known = super().retrieve_intent(intent_id)
        row = (known.id, known.status, known.amount_received, known.amount_refunded)
        return row != self._kept.get(intent_id, (intent_id, "requires_payment_method", 0, 0))

    def forget(self, intent_id: str) -> None:
        """Remembers the intent no longer; what has changed and is not written yet is left out for good."""
        del self._intents[intent_id]
        self._kept.pop(intent_id, None)
        self._changed.discard(intent_id)

    def _keep(self, intent: Intent) -> Intent:
        self._intents[intent.id] = intent
        self._changed.add(intent.id)
        return intent

    def _row(self, intent_id: str) -> Row:
        intent = self._intents[intent_id]
        return (intent_id, intent.status, intent.amount_received, intent.amount_refunded)
