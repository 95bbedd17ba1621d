"""The search for orders, and an order's page: its timeline, its past, its payment, and what staff may do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from api.console.pages import Route, go, page
from api.console.session import PATH, Visitor
from api.idempotency import request_hash
from api.problem_types import PROBLEM_TYPES
from api.problems import Refusal
from api.request_ids import current_request_id
from api.services import Services
from ledger.actor import Cause
from ledger.errors import InvalidAmount, LedgerError, PaymentsUnavailable, StorageUnavailable
from ledger.statuses import TRANSITIONS, Status, parse_status
from projections.search import Sought

LIMIT = 50
MAX_REASON = 500
_is_number = re.compile(r"[1-9][0-9]{0,15}").fullmatch
_is_amount = re.compile(r"([0-9]{1,9})(?:[.,]([0-9]{2}))?").fullmatch
_is_key = re.compile(r"[A-Za-z0-9_-]{16,64}").fullmatch
_FIELDS = ("id", "user", "status", "from", "to", "min", "max")


class OrderPages:
    """Pages about orders; ``random`` makes the keys by which a form that is sent twice counts once."""

    def __init__(self, services: Services, random: Callable[[int], str]) -> None:
        self._services = services
        self._random = random

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield Route("/orders", self.search_orders)
        yield Route("/orders/<order_id:number>", self.show_order)
        yield Route("/orders/<order_id:number>/status", self.move_order, "POST")
        yield Route("/orders/<order_id:number>/refunds", self.refund_order, "POST")

    def search_orders(self, visitor: Visitor) -> Response:
        """The orders that are sought, newest first."""
        asked = {name: request.args.get(name, "").strip() for name in _FIELDS}
        if _is_number(asked["id"]):
            return go(f"{PATH}/orders/{asked['id']}")
        before = request.args.get("before", "")
        sought, faults = _sought(asked)
        if asked["id"]:
            faults["id"] = "An order's id is a number."
        found = None
        if not faults:
            found = self._services.search.page(sought, int(before) if _is_number(before) else None, LIMIT)
        given = {name: value for name, value in asked.items() if value}
        return page(
            "orders.html",
            visitor=visitor,
            here="orders",
            asked=asked,
            faults=faults,
            found=found,
            statuses=list(Status),
            further=f"?{urlencode({**given, 'before': found.before})}" if found and found.before else None,
            first=f"?{urlencode(given)}" if before else None,
            currency=self._services.currency,
        )

    def show_order(self, visitor: Visitor, number: int) -> Response:
        """An order, as it is or as it was at a version."""
        return self._order_page(visitor, number)

    def move_order(self, visitor: Visitor, number: int) -> Response:
        """Moves an order, as staff may."""

        def move(cause: Cause) -> None:
            version = request.form.get("version", "")
            self._services.ledger.change_status(
                number,
                parse_status(request.form.get("status", "")),
                actor=visitor.actor,
                cause=cause,
                expected_version=int(version) if _is_number(version) else None,
            )

        return self._done(visitor, number, "move", move)

    def refund_order(self, visitor: Visitor, number: int) -> Response:
        """Refunds an order's payment, or a part of it."""

        def refund(cause: Cause) -> None:
            amount = _cents(request.form.get("amount", "").strip())
            self._services.ledger.refund_order(number, amount, actor=visitor.actor, cause=cause)

        return self._done(visitor, number, "refund", refund)

    def _done(self, visitor: Visitor, number: int, action: str, act: Callable[[Cause], None]) -> Response:
        if not visitor.moves:
            raise Refusal("forbidden", "Auditors look, and change nothing.")
        try:
            act(_cause(action, number))
        except (LedgerError, Refusal) as error:
            slug = error.slug if isinstance(error, Refusal) else error.code
            return self._order_page(visitor, number, (action, _told(error)), PROBLEM_TYPES[slug].status)
        return go(f"{PATH}/orders/{number}")

    def _order_page(
        self, visitor: Visitor, number: int, refusal: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        history = self._services.history.of(number, visitor.actor)
        summary = self._services.payments.summary(number, visitor.actor)
        if history is None or summary is None:
            raise Refusal("no-such-order", f"There is no order {number}.")
        asked = request.args.get("version", "")
        shown = min(int(asked), len(history)) if _is_number(asked) else len(history)
        entry = history[shown - 1]
        document = self._services.orders.at(number, entry.version, entry.status, visitor.actor)
        if document is None:
            raise Refusal("no-such-order", f"There is no order {number}.")
        return page(
            "order.html",
            status,
            visitor=visitor,
            here="orders",
            order=json.loads(document.body),
            history=history,
            entry=entry,
            shown=shown,
            summary=summary,
            moves=sorted(TRANSITIONS[Status(summary.order_status)]),
            refundable=summary.received - summary.refunded - summary.lost,
            refusal=refusal,
            sent=request.form,
            key=self._random(24),
            max_reason=MAX_REASON,
            currency=history[0].data["currency"],
        )


def _cause(action: str, number: int) -> Cause:
    """The form as a cause: with a reason for people, and a key by which it counts once."""
    reason, key = request.form.get("reason", "").strip(), request.form.get("key", "")
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise Refusal("invalid-body", f"Say why, in one line of at most {MAX_REASON} characters.")
    if not _is_key(key):
        raise Refusal("invalid-body", "The form lacks its key: load the page again.")
    sent = {name: value for name, value in request.form.items() if name != "form_token"}
    return Cause(
        request_id=current_request_id(),
        idempotency_key=f"console-{key}",
        request_hash=request_hash(f"console_{action}", {**sent, "order": number}),
        reason=reason,
    )


def _told(error: Exception) -> str:
    if isinstance(error, (StorageUnavailable, PaymentsUnavailable)):
        return PROBLEM_TYPES[error.code].explanation
    if isinstance(error, InvalidAmount):
        return " ".join(message for messages in error.errors.values() for message in messages)
    return str(error)


def _cents(text: str) -> int | None:
    if not text:
        return None
    found = _is_amount(text)
    if found is None:
        raise Refusal("invalid-amount", "An amount is written as 12.50, or left empty for all that is left.")
    return int(found[1]) * 100 + int(found[2] or 0)


def _sought(asked: Mapping[str, str]) -> tuple[Sought, dict[str, str]]:
    """What is sought, and what is wrong with what was asked, by field."""
    faults: dict[str, str] = {}

    def read(name: str, parse: Callable[[str], Any], fault: str) -> Any:
        if not asked[name]:
            return None
        try:
            return parse(asked[name])
        except (ValueError, OverflowError, LedgerError, Refusal):
            faults[name] = fault
            return None

    day = "A day is written as 2026-01-31."
    amount = "An amount is written as 12.50."
    sought = Sought(
        user=read("user", _number, "A user's id is a number."),
        status=read("status", parse_status, "There is no such status."),
        placed_from=read("from", lambda text: date.fromisoformat(text).isoformat(), day),
        placed_before=read("to", lambda text: (date.fromisoformat(text) + timedelta(days=1)).isoformat(), day),
        amount_from=read("min", _cents, amount),
        amount_to=read("max", _cents, amount),
    )
    return sought, faults


def _number(text: str) -> int:
    if not _is_number(text):
        raise ValueError(text)
    return int(text)
