"""What must be so of the events of orders and boards: every move is legal, every amount adds up.

These are the rules of the aggregates (ledger/order.py, ledger/leads.py), asked of what was recorded instead of what may
be recorded. Who may do something is not asked: the log says who did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from sys import intern
from typing import Any

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from ledger.cart import amount_of
from ledger.events import EVENT_TYPES, UNREADABLE, upcast
from ledger.leads import LEAD_STATUSES, board_stream
from ledger.order import order_id_of, order_stream
from ledger.payments.gateway import PaymentKind, PaymentNotice
from ledger.payments.payment import Payment, PaymentTotals, anomaly_of
from ledger.statuses import TRANSITIONS, Status
from ledger.storage.log import RecordedEvent
from ledger.transparency.lthash import LtHash
from projections.attested import attested_line
from projections.digest import OrderDigest, order_line
from projections.orders import created_document

Body = Mapping[str, Any]

_EVENT_TYPES = {type.TOPIC: type for type in EVENT_TYPES}
_MOVES = {before.value: frozenset(after.value for after in moves) for before, moves in TRANSITIONS.items()}
"""Plain strings: looking up a member of an enumeration costs as much as all else about a move."""

_UNHASHED = 5_000
"""Orders that may change again, before they are hashed all the same: what happens to an order happens soon."""

_NOTHING = Payment()
_read = json.JSONDecoder().raw_decode  # takes what no command writes, and says what is wrong with the rest
_quickly = Decoder().decode


class _Order(Struct, gc=False):
    """An order as its events leave it. There are as many in memory as in the log, so they are kept small."""

    amount: int
    currency: str
    intent: str
    document: bytes
    status: str = Status.PENDING.value
    version: int = 1
    payment: Payment = _NOTHING
    records: int = 0

    @classmethod
    def created(cls, body: Body) -> _Order:
        """A new one."""
        document = sha256(created_document(body).encode()).digest()
        return cls(body["amount_in_cents"], intern(body["currency"]), body["payment_intent_id"], document)

    def line(self, stream: str) -> bytes:
        """What checkpoints are made of."""
        return order_line(order_id_of(stream), self.status, self.version, self.document)


class Rules:
    """Takes the events of a log one by one, and says what is wrong with what they say.

    ``attesting``: what checkpoints say of the orders will be asked for.
    """

    def __init__(self, *, attesting: bool = False) -> None:
        self._attesting = attesting
        self._hash = LtHash()
        self._unhashed: dict[str, _Order] = {}  # as they are now, by stream
        self._version = 1  # of the event that is looked at
        self._orders: dict[str, _Order] = {}
        self._alike: dict[int, tuple[Payment, PaymentTotals]] = {}
        self._checks: dict[str, Callable[[RecordedEvent, Body], Sequence[str]]] = {
            "OrderCreated": self._created,
            "StatusChanged": self._moved,
            "PaymentRecorded": self._paid,
            "LeadStatusesArranged": _arranged,
        }

    def add(self, event: RecordedEvent) -> Sequence[str]:
        """What is wrong with this event, a phrase each."""
        check = self._checks.get(event.type)
        if check is None:
            return [f"there is no event type {event.type!r}"]
        try:
            body = _quickly(event.body)
        except (MsgspecError, RecursionError):
            try:
                body, end = _read(event.body)
            except UNREADABLE as error:
                return [_unreadable(error)]
            if end != len(event.body):
                return ["its body goes on after its object"]
        try:
            self._version = body.get("class_version", 1)
            return check(event, upcast(_EVENT_TYPES[event.type], body))
        except UNREADABLE as error:
            return [_unreadable(error)]

    def digest(self) -> OrderDigest:
        """The digest of all orders as they are now."""
        digest = OrderDigest()
        for order_id, order in sorted((order_id_of(stream), order) for stream, order in self._orders.items()):
            digest.add(order_id, order.status, order.version, order.document)
        return digest

    def attestation(self) -> str:
        """What a checkpoint has to say of the orders as they are now."""
        self._hash_all()
        return attested_line(len(self._orders), self._hash)

    def _changes(self, stream: str, order: _Order) -> None:
        """To be called before an order is changed that may be hashed as it is."""
        if self._attesting and stream not in self._unhashed:
            self._hash.remove(order.line(stream))
            self._await_hash(stream, order)

    def _await_hash(self, stream: str, order: _Order) -> None:
        if self._attesting:
            if len(self._unhashed) >= _UNHASHED:
                self._hash_all()
            self._unhashed[stream] = order

    def _hash_all(self) -> None:
        for stream, order in self._unhashed.items():
            self._hash.add(order.line(stream))
        self._unhashed.clear()

    def _created(self, event: RecordedEvent, body: Body) -> Sequence[str]:
        faults = []
        if event.stream != order_stream(body["order_id"]) or event.version != 1 or event.stream in self._orders:
            faults.append(f"order {body['order_id']} is not created here")
        if body["amount_in_cents"] != amount_of(body["lines"]):
            faults.append(f"the amount is {body['amount_in_cents']}, the lines come to {amount_of(body['lines'])}")
        if body["actor"]["user"] != body["user_id"]:
            faults.append("an order belongs to the user who places it")
        order_id_of(event.stream)
        order, former = _Order.created(body), self._orders.get(event.stream)
        if former is not None:
            self._changes(event.stream, former)
        self._orders[event.stream] = order
        self._await_hash(event.stream, order)
        return faults

    def _moved(self, event: RecordedEvent, body: Body) -> Sequence[str]:
        order = self._orders.get(event.stream)
        if order is None:
            return ["there is no such order yet"]
        before, after = order.status, body["status"]
        self._changes(event.stream, order)
        order.status, order.version = after, event.version
        if body["previous"] != before:
            return [f"it moves from {body['previous']}, and the order is {before}"]
        return () if after in _MOVES.get(before, ()) else [f"no order may move from {before} to {after}"]

    def _paid(self, event: RecordedEvent, body: Body) -> Sequence[str]:
        order = self._orders.get(event.stream)
        if order is None:
            return ["there is no such order yet"]
        faults = []
        self._changes(event.stream, order)
        order.version = event.version
        order.records += 1
        if self._is_simply_paid(order, body):
            order.payment, totals = self._simply_paid(body)
        else:
            notice = _notice(body)
            order.payment = _after(order, notice, body["anomaly"])
            totals = order.payment.totals(order.records)
            if body["anomaly"] is None and not _fits(order, notice):
                faults.append("it does not fit the order and is not noted as an anomaly")
        if body["order_status"] != order.status:
            faults.append(f"it says that the order is {body['order_status']}, which is {order.status}")
        if body["totals"] != totals:
            faults.extend(self._wrong_totals(body["totals"], totals))
        return faults

    def _wrong_totals(self, told: PaymentTotals, totals: PaymentTotals) -> Iterator[str]:
        """Version 1 did not count what disputes took, nor the disputes among anomalies as version 2 does."""
        names = set(totals)
        if self._version == 1:
            names -= {"lost_in_cents"} | ({"open_disputes", "lost_disputes"} if totals["anomalies"] else set())
        wrong = [name for name, value in totals.items() if name in names and told.get(name) != value]
        if wrong or told.keys() != totals.keys():
            yield f"the payment's totals don't add up: {', '.join(wrong) or 'too many'}"

    @staticmethod
    def _is_simply_paid(order: _Order, body: Body) -> bool:
        """Whether this is the first that is told of the payment, and all of it: so it is with most orders."""
        return (
            order.records == 1
            and body["kind"] == PaymentKind.RECEIVED
            and body["anomaly"] is None
            and body["amount_in_cents"] == order.amount
            and body["payment_intent_id"] == order.intent
            and body["currency"] == order.currency
        )

    def _simply_paid(self, body: Body) -> tuple[Payment, PaymentTotals]:
        """Such payments are alike when their amounts are: each is made, and kept, once."""
        known = self._alike.get(body["amount_in_cents"])
        if known is None:
            payment = _NOTHING.after(_notice(body))
            known = self._alike[body["amount_in_cents"]] = payment, payment.totals(1)
        return known


def _unreadable(error: Exception) -> str:
    return f"its body can't be read: {type(error).__name__} {error}"


def _notice(body: Body) -> PaymentNotice:
    return PaymentNotice(
        PaymentKind(body["kind"]),
        body["payment_intent_id"],
        body["amount_in_cents"],
        body["currency"],
        body["occurred_at"],
        None,
        body["reference"],
        body["detail"],
    )


def _fits(order: _Order, notice: PaymentNotice) -> bool:
    return notice.intent_id == order.intent and not anomaly_of(notice, order.intent, order.amount, order.currency)


def _after(order: _Order, notice: PaymentNotice, anomaly: str | None) -> Payment:
    if anomaly is None:
        return order.payment.after(notice)
    if notice.intent_id != order.intent:
        return order.payment.after_anomaly(notice, None)
    money = notice if notice.currency == order.currency else replace(notice, amount=0)
    return order.payment.after_anomaly(notice, money)


def _arranged(event: RecordedEvent, body: Body) -> Sequence[str]:
    faults = []
    if event.stream != board_stream(body["user_id"]):
        faults.append(f"the board of user {body['user_id']} is not kept here")
    if sorted(body["arrangement"]) != sorted(LEAD_STATUSES):
        faults.append("it does not arrange every lead status once")
    return faults
