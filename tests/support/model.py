"""The specification once more, as plain Python over dictionaries: what every request should be answered.

Written from the specification and not from the ledger, whose code it never uses. Where the specification leaves open
which of several faults of one request is reported, every one of them is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PRODUCTS: Mapping[int, tuple[str, str, int]] = {
    1: ("TEE-ORGANIC-M", "Organic Cotton T-Shirt", 1999),
    2: ("MUG-STONE-350", "Stoneware Mug, 350 ml", 1450),
    3: ("NOTE-A5-DOT", "Dotted Notebook A5", 895),
    4: ("LAMP-DESK-OAK", "Oak Desk Lamp", 12900),
    5: ("COFFEE-ETH-250", "Ethiopian Coffee Beans, 250 g", 1290),
    6: ("BAG-CANVAS", "Canvas Tote Bag", 1200),
    7: ("CARD-GIFT-50", "Gift Card", 5000),
    8: ("STICKER-SET", "Sticker Set", 350),
}
UNPAID = ("pending", "awaiting_payment", "payment_failed")
CLOSED = ("completed", "cancelled", "declined")
MOVES: Mapping[str, tuple[str, ...]] = {
    "pending": ("awaiting_payment", "payment_failed", "order_paid", *CLOSED),
    "awaiting_payment": ("payment_failed", "order_paid", *CLOSED),
    "payment_failed": ("awaiting_payment", "order_paid", *CLOSED),
    "order_paid": ("shipped", "completed", "cancelled"),
    "shipped": ("completed",),
    **dict.fromkeys(CLOSED, ()),
}
LARGEST = 2**53 - 1


@dataclass(frozen=True)
class Caller:
    """A user with a role; ``act`` is who really acts, if somebody does so for the user."""

    user: int
    role: str = "customer"
    act: int | None = None

    def actor(self) -> dict[str, Any]:
        """How events name this caller."""
        acting = {} if self.act is None else {"impersonated_by": self.act}
        return {"user": self.user, "role": self.role, **acting}


@dataclass
class Order:
    """An order; ``id``, ``date`` and ``secret`` are the server's to choose, once.

    ``received``, ``refunded`` and ``given_up`` (nobody can pay it any more) are what the gateway knows of its payment;
    ``told`` is what the order was told of it, as (kind, time).
    """

    owner: int
    lines: dict[int, int]
    id: int = 0
    date: str = ""
    secret: str = ""
    received: bool = False
    refunded: int = 0
    given_up: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)
    told_refunded: int = 0
    told_refunds: int = 0
    history: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The status of the last event."""
        return self.history[-1][0]

    @property
    def tag(self) -> str:
        """The entity tag: the number of events."""
        return f'"{len(self.history)}"'

    @property
    def amount(self) -> int:
        """In cents."""
        return sum(quantity * PRODUCTS[id][2] for id, quantity in self.lines.items())

    @property
    def knows_success(self) -> bool:
        """Whether the order was told that its payment succeeded."""
        return any(kind == "received" for kind, _ in self.told)

    def payment(self) -> dict[str, Any]:
        """How its payment stands, as far as the order was told."""
        received = self.amount if self.knows_success else 0
        refunded = max(self.told_refunded, self.told_refunds)
        return {
            "orderId": self.id,
            "phase": "received" if received else "failed" if self.told else None,
            "receivedInCents": received,
            "refundedInCents": refunded,
            "openDisputes": 0,
            "lostDisputes": 0,
            "lostInCents": 0,
            "anomalies": 0,
            "needsRefund": self.status in {"cancelled", "declined"} and received > refunded,
        }

    def shown(self, status: str | None = None, *, to_its_owner: bool = True) -> dict[str, Any]:
        """The order object; the client secret is for its owner alone."""
        lines: list[dict[str, Any]] = [
            {"id": id, "name": PRODUCTS[id][1], "quantity": quantity, "priceInCents": PRODUCTS[id][2]}
            for id, quantity in self.lines.items()
        ]
        return {
            "id": self.id,
            "userId": self.owner,
            "date": self.date,
            "products": lines,
            "amountInCents": self.amount,
            "clientSecret": self.secret if to_its_owner else "",
            "status": status or self.status,
        }


@dataclass(frozen=True)
class Expected:
    """An answer: a success with its body and headers, or any one of these refusals (status, problem type)."""

    status: int = 0
    body: Any = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    refusals: frozenset[tuple[int, str]] = frozenset()
    paths: frozenset[str] | None = None
    order: Order | None = None


def refused(*types: str, status: int = 400, paths: Iterable[str] | None = None) -> Expected:
    """A refusal of one of these types, with faults at exactly these paths."""
    return Expected(
        refusals=frozenset((status, slug) for slug in types), paths=None if paths is None else frozenset(paths)
    )


def status_named(text: str) -> str | None:
    """The status that a client may spell like this."""
    plain = text.lower().replace(" ", "_").replace("-", "_")
    return plain if plain in MOVES and text.isascii() else None


def key_of(header: str | None) -> str | None:
    """The idempotency key, bare or quoted; raises ValueError for what is neither."""
    if header is None:
        return None
    quoted = re.fullmatch(r'"([ -!#-\[\]-~]{1,255})"', header)
    if quoted:
        return quoted[1]
    if re.fullmatch(r"[!#-\[\]-~]{1,255}", header):
        return header
    raise ValueError(header)


class Model:
    """Everything that happened, and what it means for the next request."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.boards: dict[int, list[int]] = {}
        self.keys: dict[tuple[int, str], tuple[str, Any, Expected]] = {}
        self.notices: set[str] = set()
        self.events = 0

    def visible(self, order_id: int, caller: Caller) -> Order | None:
        """The order, unless it is somebody else's and the caller one who may not see those."""
        for order in self.orders:
            if order.id == order_id:
                return order if order.owner == caller.user or caller.role != "customer" else None
        return None

    def create(self, caller: Caller, body: Any, key_header: str | None, request_id: str) -> Expected:
        """POST /orders/new. Of an accepted order, the caller of this fills in what the server chose."""
        lines, fault = cart(body)
        known = self._known(caller, key_header, "create", body, fault)
        if known is not None:
            return known
        key = key_of(key_header)
        order = Order(caller.user, lines)
        self.orders.append(order)
        self._record(order, "pending", caller.actor(), _request(request_id, key))
        headers = {"ETag": '"1"', "Idempotency-Replayed": None}
        expected = Expected(201, headers=headers, order=order)
        self._keep(caller, key, "create", body, expected)
        return expected

    def update(
        self, caller: Caller, body: Any, key_header: str | None, if_match: str | None, request_id: str
    ) -> Expected:
        """POST /orders/status-update."""
        fault = self._update_fault(body, if_match)
        known = self._known(caller, key_header, "update", body, fault)
        if known is not None:
            return known
        status = status_named(body["status"])
        assert status is not None
        order = self.visible(body["orderId"], caller)
        refusal = self._why_not(order, status, caller, if_match)
        if refusal is not None or order is None:
            return refusal or refused("unknown-order")
        moves, key = order.status != status, key_of(key_header)
        if moves:
            self._settle_with_the_gateway(order, status, caller, request_id, key)
            self._record(order, status, caller.actor(), _request(request_id, key))
        headers = {"ETag": order.tag, "Idempotency-Replayed": None}
        expected = Expected(200, {"id": order.id, "status": status}, headers)
        if moves:
            self._keep(caller, key, "update", body, expected)
        return expected

    def notified(self, order: Order, kind: str, time: str, amount: int, event_id: str) -> None:
        """A payment webhook: takes effect once for each event id, if it tells what the order does not know."""
        latest = max((at for known, at in order.told if known == kind), default=None)
        news = {
            "received": not order.knows_success,
            "refunded": amount > order.told_refunded,
            "failed": not order.knows_success and (latest is None or time > latest),
        }
        if event_id in self.notices or not news[kind]:
            return
        self.notices.add(event_id)
        if kind == "refunded":
            order.told_refunded = amount
        else:
            order.told.append((kind, time))
        before, actor, cause = order.status, {"user": None, "role": "payments"}, {"stripe_event_id": event_id}
        status = {"received": "order_paid", "failed": "payment_failed"}.get(kind, before)
        moves = before in UNPAID and status != before
        part = {"part_of_version": len(order.history) + 2} if moves else {}
        self._record(order, before, actor, cause | part)
        if moves:
            self._record(order, status, actor, cause)

    def refund(self, caller: Caller, order_id: int, body: Any, key_header: str | None, request_id: str) -> Expected:
        """POST /orders/{id}/refunds. Of a refund that is made, the caller of this fills in its id."""
        shaped = isinstance(body, dict) and _integers(body, set(), {"amountInCents"})
        amount = body.get("amountInCents") if shaped else None
        fault = None if shaped else refused("invalid-body")
        if amount is not None and not 1 <= amount <= 99_999_999:
            fault = refused("invalid-amount")
        if key_header is None:
            fault = Expected(refusals=refused("invalid-header").refusals | (fault.refusals if fault else set()))
        known = self._known(caller, key_header, f"refund {order_id}", body, fault)
        if known is not None:
            return known
        order = self.visible(order_id, caller)
        if order is None:
            return refused("no-such-order", status=404)
        if caller.role not in {"staff", "admin"}:
            return refused("forbidden", status=403)
        left = order.amount - order.refunded if order.received else 0
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            return refused("refund-refused")
        order.refunded += amount
        order.told_refunds += amount
        key = key_of(key_header)
        self._record(order, order.status, caller.actor(), _request(request_id, key))
        made = {"id": "", "orderId": order.id, "amountInCents": amount, "currency": "usd", "status": "succeeded"}
        expected = Expected(201, made, {"ETag": order.tag, "Idempotency-Replayed": None})
        self._keep(caller, key, f"refund {order_id}", body, expected)
        return expected

    def _settle_with_the_gateway(
        self, order: Order, status: str, caller: Caller, request_id: str, key: str | None
    ) -> None:
        """What a move has to do with the payment."""
        by_hand = caller.role in {"staff", "admin"}
        closes = by_hand and order.status in UNPAID and status not in UNPAID
        if status == "cancelled" or closes:
            order.given_up = not order.received
        elif not by_hand and not order.knows_success:
            order.told.append(("received", ""))
            part = {"part_of_version": len(order.history) + 2}
            self._record(order, order.status, caller.actor(), _request(request_id, key) | part)

    def arrange(self, caller: Caller, body: Any) -> Expected:
        """PUT /leads/statuses/order."""
        moves = body if isinstance(body, list) else [body]
        if not all(isinstance(move, dict) and _integers(move, {"id", "statusOrder"}, set()) for move in moves):
            return refused("invalid-body", "invalid-arrangement")
        wanted = {move["statusOrder"]: move["id"] for move in moves}
        distinct = len(set(wanted.values())) == len(wanted) == len(moves)
        if not moves or not distinct or not {*wanted, *wanted.values()} <= {1, 2, 3, 4}:
            return refused("invalid-arrangement")
        before = self.boards.get(caller.user, [1, 2, 3, 4])
        rest = [id for id in before if id not in wanted.values()]
        after = [wanted[place] if place in wanted else rest.pop(0) for place in (1, 2, 3, 4)]
        self.boards[caller.user] = after
        self.events += after != before
        rows = [
            {"id": id, "statusOrder": place}
            for place, id in enumerate(after, 1)
            if id in wanted.values() or before[place - 1] != id
        ]
        return Expected(200, rows)

    def listed(self, caller: Caller, status: str | None, before: int | None, limit: int) -> tuple[list[Order], bool]:
        """One page of the caller's own orders, newest first, and whether there are more."""
        rows = [
            order
            for order in reversed(self.orders)
            if order.owner == caller.user and status in {None, order.status} and (before is None or order.id < before)
        ]
        return rows[:limit], len(rows) > limit

    def _why_not(self, order: Order | None, status: str, caller: Caller, if_match: str | None) -> Expected | None:
        if order is None:
            return refused("unknown-order")
        if if_match not in {None, "*"} and order.tag not in _tags(str(if_match)):
            return refused("version-mismatch", status=412)
        if order.status == status:
            return None
        if status not in MOVES[order.status]:
            return refused("illegal-move")
        return (
            _payment_forbids(order, status)
            if caller.role in {"staff", "admin"}
            else _owner_may_not(order, status, caller)
        )

    def _update_fault(self, body: Any, if_match: str | None) -> Expected | None:
        shaped = isinstance(body, dict) and isinstance(body.get("status"), str)
        if not shaped or not _integers({**body, "status": 1}, {"orderId", "status"}, set()) or body["orderId"] < 1:
            return refused("invalid-body")
        faults = [] if status_named(body["status"]) else ["unknown-status"]
        tag = r'(W/)?"[^"]*"'
        if if_match is not None and not re.fullmatch(rf"\*|{tag}(\s*,\s*{tag})*", if_match):
            faults.append("invalid-header")
        return refused(*faults) if faults else None

    def _known(
        self, caller: Caller, header: str | None, operation: str, body: Any, fault: Expected | None
    ) -> Expected | None:
        """What is answered without looking at any order: a fault of the request, or what its key led to before."""
        try:
            key = key_of(header)
        except ValueError:
            fault = fault or refused()
            return Expected(refusals=fault.refusals | refused("invalid-header").refusals)
        earlier = self.keys.get((caller.user, key or ""))
        if earlier is None:
            return fault
        if earlier[:2] == (operation, body) and fault is None:
            first = earlier[2]
            return Expected(
                first.status, first.body, {**first.headers, "Idempotency-Replayed": "true"}, order=first.order
            )
        reused = refused("idempotency-key-reused", status=422)
        return reused if fault is None else Expected(refusals=reused.refusals | fault.refusals)

    def _keep(self, caller: Caller, key: str | None, operation: str, body: Any, expected: Expected) -> None:
        if key is not None:
            self.keys[caller.user, key] = (operation, body, expected)

    def _record(self, order: Order, status: str, actor: dict[str, Any], cause: dict[str, Any]) -> None:
        order.history.append((status, actor, cause))
        self.events += 1


def _request(request_id: str, key: str | None) -> dict[str, Any]:
    return {"request_id": request_id} | ({} if key is None else {"idempotency_key": key})


def _payment_forbids(order: Order, status: str) -> Expected | None:
    keeps_the_money = order.received and order.refunded < order.amount
    return refused("refund-required") if status == "cancelled" and keeps_the_money else None


def _owner_may_not(order: Order, status: str, caller: Caller) -> Expected | None:
    may_ask = status in {"order_paid", "completed"} or (status == "cancelled" and order.status in UNPAID)
    if order.owner != caller.user or not may_ask:
        return refused("move-not-allowed")
    if status == "cancelled":
        return _payment_forbids(order, status)
    paid = order.received and not order.refunded
    return None if paid else refused("payment-not-confirmed")


def _tags(if_match: str) -> list[str]:
    """The entity tags of an If-Match; weak ones keep their prefix, and so match nothing."""
    return re.findall(r'(?:W/)?"[^"]*"', if_match)


def _integers(value: Mapping[str, Any], required: set[str], optional: set[str]) -> bool:
    return required <= set(value) <= required | optional and all(
        type(number) is int and abs(number) <= LARGEST for number in value.values()
    )


def cart(body: Any) -> tuple[dict[int, int], Expected | None]:
    """The lines that a cart comes to, by product in the order of first mention, or its faults."""
    if not isinstance(body, list):
        return {}, refused("invalid-body")
    if not 1 <= len(body) <= 200:
        return {}, refused("invalid-cart", paths=[""])
    misshapen = [str(index) for index, item in enumerate(body) if not _is_item(item)]
    if misshapen:
        return {}, refused("invalid-body")
    lines: dict[int, int] = {}
    faults: set[str] = set()
    for index, item in enumerate(body):
        wanted = item if isinstance(item, dict) else {"id": _named(item), "quantity": 1}
        if wanted["id"] not in PRODUCTS:
            faults.add(f"{index}.id" if isinstance(item, dict) else f"{index}")
            continue
        if not 1 <= wanted["quantity"] <= 10_000:
            faults.add(f"{index}.quantity")
        if wanted.get("priceInCents", PRODUCTS[wanted["id"]][2]) != PRODUCTS[wanted["id"]][2]:
            faults.add(f"{index}.priceInCents")
        lines[wanted["id"]] = lines.get(wanted["id"], 0) + wanted["quantity"]
    amount = sum(quantity * PRODUCTS[id][2] for id, quantity in lines.items())
    if not faults and (amount > 99_999_999 or max(lines.values()) > 10_000):
        faults.add("")
    return lines, refused("invalid-cart", paths=faults) if faults else None


def _is_item(item: Any) -> bool:
    if isinstance(item, str):
        return True
    if not isinstance(item, dict) or not isinstance(item.get("name", ""), str):
        return False
    rest = {name: value for name, value in item.items() if name != "name"}
    return _integers(rest, {"id", "quantity"}, {"priceInCents"})


def _named(reference: str) -> int:
    return next((id for id, (sku, _, _) in PRODUCTS.items() if reference in {sku, str(id)}), 0)
