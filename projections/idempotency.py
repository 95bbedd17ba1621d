"""The idempotency index: which event each client's key, or Stripe's event id, has caused.

Its primary key makes exactly-once the database's work: a second append with the same cause fails as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.order import order_id_of
from ledger.receipts import STRIPE, Receipt, user_source
from ledger.statuses import Status
from ledger.storage.tables import Table
from projections.bodies import Cause
from projections.live import LiveViews
from projections.view import Change, EventFacts, Insert, View

IDEMPOTENCY = Table(
    "idempotency",
    {
        "source": "text",
        "key": "text",
        "request_hash": "text",
        "order_id": "bigint",
        "version": "bigint",
        "status": "text",
    },
    key_size=2,
)


def _caused(event: EventFacts) -> Iterator[Change]:
    cause: Cause = event.body.cause
    if cause.part_of_version is not None:
        return  # it belongs to the event of that version
    if cause.idempotency_key is None and cause.stripe_event_id is None:
        return
    outcome = (order_id_of(event.stream), event.version, _status_after(event))
    if cause.idempotency_key is not None:
        source = user_source(event.body.actor.user)
        yield Insert((source, cause.idempotency_key, cause.request_hash, *outcome))
    if cause.stripe_event_id is not None:
        yield Insert((STRIPE, cause.stripe_event_id, "", *outcome))


def _status_after(event: EventFacts) -> str:
    """The order's, which a payment that moves it is only a part of, and so does not change by itself."""
    if event.type == "OrderCreated":
        return Status.PENDING.value
    return str(event.body.status if event.type == "StatusChanged" else event.body.order_status)


_CAUSED = dict.fromkeys(("OrderCreated", "StatusChanged", "PaymentRecorded"), _caused)
VIEW = View("idempotency", 1, IDEMPOTENCY, _CAUSED)


class ReceiptReads:
    """Finds what a cause has led to (the ledger's Receipts port)."""

    def __init__(self, views: LiveViews) -> None:
        self._views = views

    def find(self, source: str, key: str) -> Receipt | None:
        """The receipt of a cause, or ``None`` when it has led to nothing yet."""
        query = "SELECT request_hash, order_id, version, status FROM {idempotency} WHERE source = ? AND key = ?"
        rows = self._views.read(query, (source, key))
        if not rows:
            return None
        request_hash, order_id, version, status = rows[0]
        return Receipt(request_hash, order_id, version, Status(status))
