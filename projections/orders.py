"""The order list and detail: one row an order, its JSON rendered when it was created.

The rendered object is split where it changes: ``document`` holds all up to the client secret (which is not in the log,
and so not in a view) and ``status`` its end. Reads join the two to the secret and never build an object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from msgspec import convert

from ledger.actor import Actor
from ledger.events import OrderCreated
from ledger.order import order_id_of
from ledger.payments.gateway import Intent
from ledger.statuses import Status
from ledger.storage.database import Dialect
from ledger.storage.tables import Row, Table
from projections.bodies import OrderCreated as OrderCreatedBody
from projections.live import LiveViews
from projections.view import Change, EventFacts, Insert, Update, View

ORDERS = Table(
    "orders",
    {"order_id": "bigint", "user_id": "bigint", "status": "text", "version": "bigint", "document": "text"},
    indexes=(("user_id", "order_id"), ("user_id", "status", "order_id")),
)


_PENDING = Status.PENDING.value
_quoted = encode_basestring


def _created(event: EventFacts) -> tuple[Change]:
    body: OrderCreatedBody = event.body
    return (Insert((body.order_id, body.user_id, _PENDING, event.version, _document(body))),)


def _moved(event: EventFacts) -> tuple[Change]:
    return (Update((order_id_of(event.stream),), {"status": event.body.status, "version": event.version}),)


def _paid(event: EventFacts) -> tuple[Change]:
    return (Update((order_id_of(event.stream),), {"status": event.body.order_status, "version": event.version}),)


VIEW = View("orders", 1, ORDERS, {"OrderCreated": _created, "StatusChanged": _moved, "PaymentRecorded": _paid})


def _document(body: OrderCreatedBody) -> str:
    """The object's beginning, byte for byte what json.dumps makes of it without spaces and with letters as they are."""
    products = ",".join(
        [
            f'{{"id":{line.product_id},"name":{_quoted(line.name)},"quantity":{line.quantity},'
            f'"priceInCents":{line.price_in_cents}}}'
            for line in body.lines
        ]
    )
    return (
        f'{{"id":{body.order_id},"userId":{body.user_id},"date":{_quoted(body.timestamp)},"products":[{products}],'
        f'"amountInCents":{body.amount_in_cents}'
    )


def created_document(body: Mapping[str, Any]) -> str:
    """The order object that a body of OrderCreated tells of, up to where the client secret follows."""
    return _document(convert(body, OrderCreatedBody))


def placed_at(document: str) -> str:
    """When an order of the view was placed (RFC 3339, UTC)."""
    return str(json.loads(document + "}")["date"])


def as_object(row: Row) -> dict[str, Any]:
    """A row of the view as the order object without the client secret, and with its version."""
    columns = dict(zip(ORDERS.columns, row, strict=True))
    document: dict[str, Any] = json.loads(columns["document"] + "}")
    return document | {"status": columns["status"], "version": columns["version"]}


@dataclass(frozen=True, slots=True)
class OrderDocument:
    """One order: its owner, its version, and the order object as JSON bytes."""

    user_id: int
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class OrderPage:
    """One page of a user's orders: a JSON array, and the cursor of the next page (``None``: this is the last)."""

    body: bytes
    next_cursor: int | None


NO_ORDER = 2**63 - 1
"""Above every order's id."""
_JOIN = "FROM {orders} JOIN payment_intents USING (order_id)"


class OrderReads:
    """The queries of the order endpoints. Every method may raise StorageUnavailable."""

    def __init__(self, views: LiveViews) -> None:
        self._views = views

    def detail(self, order_id: int, reader: Actor) -> OrderDocument | None:
        """The order as it is now; ``None`` when there is none that this reader may see.

        Only its owner is shown the client secret, which is good for paying: to others it is an empty string.
        """
        query = f"SELECT user_id, version, document, client_secret, status {_JOIN} WHERE order_id = ?"
        rows = self._views.read(query, (order_id,))
        if not rows or not reader.may_see(rows[0][0]):
            return None
        user_id, version, document, client_secret, status = rows[0]
        shown = client_secret if user_id == reader.user else ""
        return OrderDocument(user_id, version, _rendered(document, shown, status).encode())

    def at(self, order_id: int, version: int, status: Status, reader: Actor) -> OrderDocument | None:
        """The order as it was at a version, at which it had this status; shown as by ``detail``."""
        query = f"SELECT user_id, document, client_secret {_JOIN} WHERE order_id = ?"
        rows = self._views.read(query, (order_id,))
        if not rows or not reader.may_see(rows[0][0]):
            return None
        user_id, document, client_secret = rows[0]
        shown = client_secret if user_id == reader.user else ""
        return OrderDocument(user_id, version, _rendered(document, shown, status.value).encode())

    @staticmethod
    def placed(event: OrderCreated, intent: Intent) -> OrderDocument:
        """The order that was placed just now, from what was recorded: what ``as_created`` reads, without reading it."""
        body = _rendered(_document(convert(vars(event), OrderCreatedBody)), intent.client_secret, Status.PENDING.value)
        return OrderDocument(event.user_id, event.originator_version, body.encode())

    def as_created(self, order_id: int) -> OrderDocument:
        """The order as it was at version 1, which is what its creation answered. Raises KeyError when there is none."""
        query = f"SELECT user_id, document, client_secret {_JOIN} WHERE order_id = ?"
        rows = self._views.read(query, (order_id,))
        if not rows:
            raise KeyError(order_id)
        user_id, document, client_secret = rows[0]
        return OrderDocument(user_id, 1, _rendered(document, client_secret, Status.PENDING.value).encode())

    def page(self, user_id: int, *, status: Status | None, before: int | None, limit: int) -> OrderPage:
        """A user's orders, newest first: at most ``limit`` of those with ids below ``before``, in this status."""
        query, parameters = page_query(self._views.database.dialect, user_id, status, before, limit)
        rows = self._views.read(query, parameters)
        body = ",".join([_rendered(*row[1:]) for row in rows[:limit]])
        return OrderPage(f"[{body}]".encode(), rows[limit - 1][0] if len(rows) > limit else None)


def page_query(
    dialect: Dialect, user_id: int, status: Status | None, before: int | None, limit: int
) -> tuple[str, list[object]]:
    """The statement of one page and its parameters; asks for one row more than the limit, to know if there are more."""
    equal = {"user_id": user_id} | ({"status": status.value} if status else {})
    condition, parameters = newest_first(dialect, equal, before)
    return f"SELECT order_id, document, client_secret, status {_JOIN} {condition} LIMIT ?", [*parameters, limit + 1]


def newest_first(dialect: Dialect, equal: Mapping[str, object], before: int | None) -> tuple[str, list[object]]:
    """The rows with these values and ids below ``before``, newest first: the end of a statement, and its parameters.

    There has to be an index of these columns and the id. PostgreSQL is given a range of it, which has these rows in the
    order asked for: for plain equality it may walk all newer orders of other users instead. SQLite seeks by plain
    equality, and not by such a range.
    """
    last = NO_ORDER if before is None else before
    if not equal:
        return "WHERE order_id < ? ORDER BY order_id DESC", [last]
    names, marks = ", ".join(equal), ", ".join("?" * len(equal))
    if dialect == "postgres":
        condition = f"({names}) >= ({marks}) AND ({names}, order_id) < ({marks}, ?)"
    else:
        condition = f"({names}) = ({marks}) AND order_id < ?"
    values = [*equal.values()]
    order = ", ".join(f"{column} DESC" for column in (*equal, "order_id"))
    return f"WHERE {condition} ORDER BY {order}", [*values, *(values if dialect == "postgres" else ()), last]


def _rendered(document: str, client_secret: str, status: str) -> str:
    # Gateways make secrets of letters, digits and underscores, which JSON takes as they are.
    quoted = f'"{client_secret}"' if client_secret.isidentifier() else json.dumps(client_secret)
    return f'{document},"clientSecret":{quoted},"status":"{status}"}}'
