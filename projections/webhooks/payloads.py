"""What a webhook says of an event: thin, and nothing that the event does not say. docs/webhooks.md has it in full."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ledger.events import ORDER_EVENTS, upcast
from ledger.order import order_id_of
from ledger.storage.log import RecordedEvent

TYPES: Mapping[str, str] = {
    "OrderCreated": "order.created",
    "StatusChanged": "order.status_changed",
    "PaymentRecorded": "order.payment_recorded",
}
"""By type of event. Others are told to nobody."""

_CLASSES = {event_type.TOPIC: event_type for event_type in ORDER_EVENTS}


def payload(event: RecordedEvent) -> str:
    """The body of the webhook: ``type``, ``timestamp`` and ``data``. Raises one of UNFOLDABLE for an altered event."""
    body = upcast(_CLASSES[event.type], json.loads(event.body))
    data = {
        "orderId": order_id_of(event.stream),
        "version": event.version,
        "position": event.position,
        **_facts(event.type, body),
    }
    told = {"type": TYPES[event.type], "timestamp": body["timestamp"], "data": data}
    return json.dumps(told, allow_nan=False, separators=(",", ":"))


def _facts(event_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
    match event_type:
        case "OrderCreated":
            amount = {"amountInCents": body["amount_in_cents"], "currency": body["currency"]}
            return {"userId": body["user_id"], "status": "pending", **amount}
        case "StatusChanged":
            return {"previous": body["previous"], "status": body["status"]}
        case _:
            amount = {"amountInCents": body["amount_in_cents"], "currency": body["currency"]}
            return {"status": body["order_status"], "kind": body["kind"], **amount}
