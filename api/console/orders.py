"""An order's page: its timeline, its past, its payment, and what staff may do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask import Response, request

from api.causes import current_trace
from api.console.fields import cents, is_number
from api.console.pages import Route, go, page
from api.console.session import PATH, Visitor
from api.idempotency import request_hash
from api.problem_types import PROBLEM_TYPES
from api.problems import Refusal, told_of
from api.request_ids import current_request_id
from api.services import Services
from api.strict_json import MAX_INTEGER
from ledger.actor import Cause
from ledger.errors import IdempotencyKeyReused, LedgerError, UnreadableEvent, VersionMismatch
from ledger.statuses import TRANSITIONS, Status, parse_status
from projections.history import HistoryEntry

MAX_REASON = 500
_OURS = 500  # and above: it is not known what came of it


@dataclass(frozen=True, slots=True)
class Refused:
    """A form (``move`` or ``refund``) that was not carried out, why, and the answer's status. It is to be sent again
    for the order at ``version``: as long as nobody was told that it is another, the one that it was sent for."""

    action: str
    why: str
    status: int
    version: str | None

    @property
    def perhaps_done(self) -> bool:
        """Whether it may have been carried out all the same, and only its outcome is not known."""
        return self.status >= _OURS


class OrderPages:
    """Pages about one order."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield Route("/orders/<number>", self.show_order)
        yield Route("/orders/<number>/status", self.move_order, "POST")
        yield Route("/orders/<number>/refunds", self.refund_order, "POST")

    def show_order(self, visitor: Visitor, number: str) -> Response:
        """An order, as it is or as it was at a version."""
        return self._order_page(visitor, _order_id(number))

    def move_order(self, visitor: Visitor, number: str) -> Response:
        """Moves an order, as staff may."""
        order_id = _order_id(number)

        def move() -> None:
            version = _sent_version()
            status = parse_status(request.form.get("status", ""))
            cause = _cause("move", order_id, version)
            ledger = self._services.ledger
            ledger.change_status(order_id, status, actor=visitor.actor, cause=cause, expected_version=version)

        return self._done(visitor, order_id, "move", move)

    def refund_order(self, visitor: Visitor, number: str) -> Response:
        """Refunds an order's payment, or a part of it."""
        order_id = _order_id(number)

        def refund() -> None:
            version = _sent_version()
            amount = cents(request.form.get("amount", "").strip())
            cause = _cause("refund", order_id, version)
            ledger = self._services.ledger
            ledger.refund_order(order_id, amount, actor=visitor.actor, cause=cause, expected_version=version)

        return self._done(visitor, order_id, "refund", refund)

    def _done(self, visitor: Visitor, order_id: int, action: str, act: Callable[[], None]) -> Response:
        if not visitor.moves:
            raise Refusal("forbidden", "Auditors look, and change nothing.")
        try:
            act()
        except Refusal as error:
            slug, why = error.slug, error.detail
        except IdempotencyKeyReused as error:
            slug = error.code
            why = "Something else was done to this order at the same version, or begun: look at it as it is now."
        except VersionMismatch as error:
            slug = error.code
            why = "The order has changed, perhaps by this very form as it was sent before: its timeline says how."
        except LedgerError as error:
            slug, why = told_of(error)
            if PROBLEM_TYPES[slug].status >= _OURS:
                why = "The database, or the payment service, gave no answer. Send it again: it counts once."
        else:
            return go(f"{PATH}/orders/{order_id}")
        sent, told = request.form.get("version", ""), slug in {VersionMismatch.code, IdempotencyKeyReused.code}
        version = sent if is_number(sent) and not told else None
        return self._order_page(visitor, order_id, Refused(action, why, PROBLEM_TYPES[slug].status, version))

    def _order_page(self, visitor: Visitor, order_id: int, refused: Refused | None = None) -> Response:
        history = self._history(visitor, order_id)
        summary = self._services.payments.summary(order_id, visitor.actor)
        if history is None or summary is None:
            raise _no_order(str(order_id))
        asked = request.args.get("version", str(len(history)))
        if not is_number(asked) or int(asked) > len(history):
            raise Refusal("no-such-version", f"Order {order_id} has versions 1 to {len(history)}.")
        shown = int(asked)
        entry = history[shown - 1]
        document = self._services.orders.at(order_id, entry.version, entry.status, visitor.actor)
        if document is None:
            raise _no_order(str(order_id))
        return page(
            "order.html",
            refused.status if refused else 200,
            visitor=visitor,
            here="orders",
            order=json.loads(document.body),
            history=history,
            entry=entry,
            shown=shown,
            summary=summary,
            moves=sorted(TRANSITIONS[Status(summary.order_status)]),
            refundable=summary.received - summary.refunded - summary.lost,
            refused=refused,
            sent=request.form,
            version=(refused and refused.version) or len(history),
            max_reason=MAX_REASON,
            currency=history[0].data["currency"],
        )

    def _history(self, visitor: Visitor, order_id: int) -> list[HistoryEntry] | None:
        try:
            return self._services.history.of(order_id, visitor.actor)
        except UnreadableEvent as error:  # those who are here to see such a thing are told which event it is
            slug, _ = told_of(error)
            seen = " The log shows it as it is stored." if visitor.audits else ""
            raise Refusal(slug, f"{error}{seen}") from error


def _order_id(number: str) -> int:
    if not is_number(number) or int(number) > MAX_INTEGER:
        raise _no_order(number)
    return int(number)


def _no_order(number: str) -> Refusal:
    return Refusal("no-such-order", f"There is no order {number[:40]}.")


def _sent_version() -> int:
    """The order's version when the page with the form was made."""
    version = request.form.get("version", "")
    if not is_number(version):
        raise Refusal("invalid-body", "The form lacks the order's version: load the page again.")
    return int(version)


def _cause(action: str, order_id: int, version: int) -> Cause:
    """The form as a cause: with a reason for people, and a key by which it counts once.

    The key is that of the order at a version, and not of the page: whoever does not know what came of a form, and loads
    the page again to send it once more, must not refund twice.
    """
    reason = request.form.get("reason", "").strip()
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise Refusal("invalid-body", f"Say why, in one line of at most {MAX_REASON} characters.")
    sent = {name: value for name, value in request.form.items() if name != "form_token"}
    return Cause(
        request_id=current_request_id(),
        idempotency_key=f"console-{action}-{order_id}-{version}",
        request_hash=request_hash(f"console_{action}", {**sent, "order": order_id}),
        trace_id=current_trace(),
        reason=reason,
    )
