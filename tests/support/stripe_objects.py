"""What a Stripe account holds, in Stripe's shapes, and what can happen to it: the state behind the tests' Stripe.

Sources: https://docs.stripe.com/api/payment_intents/object, /api/charges/object, /api/refunds/object,
/api/disputes/object, /api/events/types
"""

from __future__ import annotations

import copy
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
"""An object of Stripe, as JSON: amounts in cents, times in seconds since 1970."""

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")
MIN_AMOUNT = 50
MAX_AMOUNT = 99_999_999


class Refused(Exception):
    """A request that Stripe refuses; ``saved`` when Stripe keeps the refusal for the idempotency key."""

    def __init__(self, code: str | None, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        # Only what was refused while it was carried out is kept, not what could not be understood.
        self.saved = code in {"payment_intent_unexpected_state", "charge_already_refunded", "amount_too_large"}
        self.body = {
            "error": {"type": "invalid_request_error", "code": code, "message": message, "param": param},
        }


class StripeAccount:
    """Intents, charges, refunds and disputes by id, and the events of everything that has happened, oldest first.

    The public methods are what customers, banks and people at the dashboard do; each returns the events it made.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.intents: dict[str, Object] = {}
        self.charges: dict[str, Object] = {}
        self.refunds: dict[str, Object] = {}
        self.disputes: dict[str, Object] = {}
        self.events: list[Object] = []
        self._now = now

    def intent_of_order(self, order_id: int) -> Object:
        """The latest intent whose metadata name the order. Raises LookupError."""
        with self.lock:
            for intent in reversed(self.intents.values()):
                if intent["metadata"].get("order_id") == str(order_id):
                    return intent
        raise LookupError(f"no intent of order {order_id}")

    def intents_of_order(self, order_id: int) -> list[Object]:
        """Every intent whose metadata name the order, oldest first."""
        with self.lock:
            return [each for each in self.intents.values() if each["metadata"].get("order_id") == str(order_id)]

    def create(self, amount: int, currency: str = "usd", metadata: dict[str, str] | None = None) -> Object:
        """A new intent, as POST /v1/payment_intents makes one."""
        if not MIN_AMOUNT <= amount <= MAX_AMOUNT:
            small = amount < MIN_AMOUNT
            raise Refused("amount_too_small" if small else "amount_too_large", "Amount must fit.", param="amount")
        with self.lock:
            intent_id = _id("pi")
            intent = self.intents[intent_id] = {
                "id": intent_id,
                "object": "payment_intent",
                "amount": amount,
                "amount_capturable": 0,
                "amount_received": 0,
                "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
                "canceled_at": None,
                "cancellation_reason": None,
                "capture_method": "automatic_async",
                "client_secret": f"{intent_id}_secret_{secrets.token_hex(12)}",
                "confirmation_method": "automatic",
                "created": self._time(),
                "currency": currency,
                "last_payment_error": None,
                "latest_charge": None,
                "livemode": False,
                "metadata": dict(metadata or {}),
                "next_action": None,
                "payment_method": None,
                "payment_method_types": ["card"],
                "status": "requires_payment_method",
            }
            self._event("payment_intent.created", intent)
            return intent

    def pay(self, intent_id: str, amount: int | None = None) -> list[Object]:
        """The customer pays: all of it, or an amount that differs from what was asked, as it never should."""
        with self.lock:
            intent = self._open(intent_id, also="processing")
            received = intent["amount"] if amount is None else amount
            charge = self._charge(intent, received, "succeeded")
            intent.update(status="succeeded", amount_received=received, amount_capturable=0, last_payment_error=None)
            return [self._event("charge.succeeded", charge), self._event("payment_intent.succeeded", intent)]

    def fail(self, intent_id: str, decline_code: str | None = "insufficient_funds") -> list[Object]:
        """The customer's card is declined; the intent can be paid with another one."""
        with self.lock:
            intent = self._open(intent_id, also="processing")
            charge = self._charge(intent, intent["amount"], "failed")
            error = {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}
            error |= {"charge": charge["id"]} | ({"decline_code": decline_code} if decline_code else {})
            intent.update(status="requires_payment_method", last_payment_error=error)
            return [self._event("charge.failed", charge), self._event("payment_intent.payment_failed", intent)]

    def advance(self, intent_id: str, status: str) -> list[Object]:
        """The intent goes on to ``processing``, ``requires_action`` or ``requires_capture``."""
        kind = "amount_capturable_updated" if status == "requires_capture" else status
        with self.lock:
            intent = self._open(intent_id)
            intent.update(status=status, amount_capturable=intent["amount"] if status == "requires_capture" else 0)
            return [self._event(f"payment_intent.{kind}", intent)]

    def cancel(self, intent_id: str) -> list[Object]:
        """The intent is cancelled, at the dashboard or by POST /v1/payment_intents/{id}/cancel."""
        with self.lock:
            intent = self._open(intent_id)
            intent.update(status="canceled", canceled_at=self._time())
            return [self._event("payment_intent.canceled", intent)]

    def refund(self, intent_id: str, amount: int | None = None, status: str = "succeeded") -> list[Object]:
        """A refund (``None``: of all that is left), at the dashboard or by POST /v1/refunds; it is in ``refunds``."""
        with self.lock:
            charge = self._charge_of(self.intent(intent_id))
            if charge["disputed"]:
                raise Refused("charge_disputed", f"Charge {charge['id']} has been charged back.")
            left = charge["amount"] - charge["amount_refunded"]
            amount = left if amount is None else amount
            if left == 0:
                raise Refused("charge_already_refunded", f"Charge {charge['id']} has already been refunded.")
            if not 0 < amount <= left:
                raise Refused("amount_too_large", "Refund amount is greater than unrefunded amount.", param="amount")
            refund_id = _id("re")
            refund = self.refunds[refund_id] = {
                "id": refund_id,
                "object": "refund",
                "amount": amount,
                "charge": charge["id"],
                "created": self._time(),
                "currency": charge["currency"],
                "metadata": {},
                "payment_intent": intent_id,
                "reason": None,
                "status": status,
            }
            self._refund_charge(charge, amount)
            return [self._event("refund.created", refund), self._event("charge.refunded", charge)]

    def settle_refund(self, refund_id: str, status: str) -> list[Object]:
        """A refund ends as ``succeeded``, ``failed`` or ``canceled``; in the last two cases the money is back."""
        with self.lock:
            refund = self.refunds[refund_id]
            undone = status in {"failed", "canceled"} and refund["status"] not in {"failed", "canceled"}
            refund["status"] = status
            if undone:
                self._refund_charge(self.charges[refund["charge"]], -refund["amount"])
            return [self._event("refund.failed" if status == "failed" else "refund.updated", refund)]

    def dispute(self, intent_id: str, amount: int | None = None) -> list[Object]:
        """The customer's bank takes the money back, for now."""
        with self.lock:
            charge = self._charge_of(self.intent(intent_id))
            charge["disputed"] = True
            dispute_id = _id("du")
            dispute = self.disputes[dispute_id] = {
                "id": dispute_id,
                "object": "dispute",
                "amount": charge["amount"] if amount is None else amount,
                "charge": charge["id"],
                "created": self._time(),
                "currency": charge["currency"],
                "metadata": {},
                "payment_intent": intent_id,
                "reason": "fraudulent",
                "status": "needs_response",
            }
            return [self._event("charge.dispute.created", dispute)]

    def close_dispute(self, dispute_id: str, status: str) -> list[Object]:
        """The dispute is ``won`` or ``lost``."""
        with self.lock:
            dispute = self.disputes[dispute_id]
            dispute["status"] = status
            self.charges[dispute["charge"]]["disputed"] = status == "lost"
            return [self._event("charge.dispute.closed", dispute)]

    def intent(self, intent_id: str) -> Object:
        """The intent with this id; refuses an unknown one as Stripe does."""
        intent = self.intents.get(intent_id)
        if intent is None:
            message = f"No such payment_intent: '{intent_id}'"
            raise Refused("resource_missing", message, status=404, param="intent")
        return intent

    def _open(self, intent_id: str, also: str = "") -> Object:
        intent = self.intent(intent_id)
        if intent["status"] not in (*OPEN, also):
            message = f"This PaymentIntent's status is {intent['status']}."
            raise Refused("payment_intent_unexpected_state", message)
        return intent

    def _charge(self, intent: Object, amount: int, status: str) -> Object:
        charge_id = _id("ch")
        intent["latest_charge"] = charge_id
        charge = self.charges[charge_id] = {
            "id": charge_id,
            "object": "charge",
            "amount": amount,
            "amount_captured": amount if status == "succeeded" else 0,
            "amount_refunded": 0,
            "captured": status == "succeeded",
            "created": self._time(),
            "currency": intent["currency"],
            "disputed": False,
            "livemode": False,
            "metadata": dict(intent["metadata"]),
            "paid": status == "succeeded",
            "payment_intent": intent["id"],
            "refunded": False,
            "status": status,
        }
        return charge

    def _charge_of(self, intent: Object) -> Object:
        charge = self.charges.get(intent["latest_charge"] or "")
        if charge is None or not charge["paid"]:
            message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
            raise Refused(None, message)
        return charge

    def _refund_charge(self, charge: Object, amount: int) -> None:
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]

    def _event(self, kind: str, about: Object) -> Object:
        event = {
            "id": _id("evt"),
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": self._time(),
            "data": {"object": copy.deepcopy(about)},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        self.events.append(event)
        return event

    def _time(self) -> int:
        return int(self._now())


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"
