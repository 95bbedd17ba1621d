"""The log and the orders as rows of typed columns, for files that analysts read; each row with the month it belongs to.

All of it is read in one transaction, and streamed. See docs/formats.md for what the columns mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ledger.events import UNREADABLE
from ledger.order import STREAM_PREFIX
from ledger.storage import Cursor
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from ledger.storage.tables import Row
from projections.live import LiveSet

EVENT_COLUMNS = (
    "position",
    "stream",
    "version",
    "type",
    "timestamp",
    "actor_user",
    "actor_role",
    "impersonated_by",
    "order_id",
    "body",
)
ORDER_COLUMNS = (
    "order_id",
    "user_id",
    "status",
    "version",
    "created",
    "amount_in_cents",
    "currency",
    "payment_intent_id",
    "received_in_cents",
    "refunded_in_cents",
    "open_disputes",
    "lost_disputes",
    "products",
)
_ORDERS = (
    "SELECT order_id, user_id, status, version, document, currency, intent_id, coalesce(received, 0),"
    " coalesce(refunded, 0), coalesce(open_disputes, 0), coalesce(lost_disputes, 0)"
    " FROM {orders} JOIN payment_intents USING (order_id) LEFT JOIN {payments} USING (order_id) ORDER BY order_id"
)
_MONTH = len("2026-01")


class Dated(NamedTuple):
    """A row, and its month in UTC (``2026-01``); ``None`` when its timestamp can't be read."""

    month: str | None
    row: Row


def events(cursor: Cursor) -> Iterator[Dated]:
    """Every event in order of position, as EVENT_COLUMNS. A body that can't be read leaves what it would tell empty."""
    return map(_event, read_log(cursor))


def orders(cursor: Cursor, live: LiveSet) -> Iterator[Dated]:
    """Every order by id, as ORDER_COLUMNS, with the month in which it was placed."""
    return map(_order, cursor.stream(live.named(_ORDERS)))


def head(cursor: Cursor) -> int:
    """The position of the last event, and so how many there are."""
    return int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])


def order_count(cursor: Cursor, live: LiveSet) -> int:
    """How many orders there are."""
    return int(cursor.execute(live.named("SELECT count(*) FROM {orders}"))[0][0])


def _event(event: RecordedEvent) -> Dated:
    try:
        body = json.loads(event.body)
        told, actor = body["timestamp"], body["actor"]
        timestamp = datetime.fromisoformat(told)
        who = (actor["user"], actor["role"], actor.get("impersonated_by"))
    except UNREADABLE:
        # What is wrong with the log is for the check to say; whoever counts events counts this one, too.
        return Dated(None, (*event[:4], None, None, None, None, _order_id(event.stream), event.body))
    return Dated(told[:_MONTH], (*event[:4], timestamp, *who, _order_id(event.stream), event.body))


def _order_id(stream: str) -> int | None:
    number = stream.removeprefix(STREAM_PREFIX)
    return int(number) if number != stream and number.isascii() and number.isdigit() else None


def _order(row: Row) -> Dated:
    order_id, user_id, status, version, document, currency, intent_id, *sums = row
    known: dict[str, Any] = json.loads(document + "}")
    products = [
        {
            "id": line["id"],
            "name": line["name"],
            "quantity": line["quantity"],
            "price_in_cents": line["priceInCents"],
        }
        for line in known["products"]
    ]
    created = known["date"]
    bought = (known["amountInCents"], currency, intent_id)
    order = (order_id, user_id, status, version, datetime.fromisoformat(created), *bought, *sums, products)
    return Dated(created[:_MONTH], order)
