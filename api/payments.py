"""The payment endpoints: how an order's payment stands, refunds, and payments that are no order's."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from api import idempotency, openapi, payments_doc
from api.answers import json_answer
from api.callers import Callers
from api.causes import cause_of
from api.preconditions import etag
from api.problems import Refusal, problem
from api.schemas import load_payment, load_refund
from api.services import Services
from api.strict_json import read_json
from ledger.errors import UnknownOrder


class PaymentRoutes:
    """Reads and commands on payments."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._ledger = services.ledger
        self._payments = services.payments
        self._callers = callers

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint("Payments", "What was received, and what goes back.")
        order = "/orders/<order_id:orderId>"
        openapi.operation(routes, f"{order}/payment", "GET", self.get_payment, **payments_doc.PAYMENT)
        openapi.operation(routes, f"{order}/refunds", "POST", self.refund_order, **payments_doc.REFUND)
        openapi.operation(
            routes, "/payments/create-payment-intent", "POST", self.create_payment_intent, **payments_doc.CREATE
        )
        return routes

    def get_payment(self, orderId: int) -> Response:  # noqa: N803  # the name in the documented path
        """How an order's payment stands

        The sum of all that the payment gateway has told of it, for whoever may see the order.
        """
        payment = self._payments.summary(orderId, self._callers.actor())
        if payment is None:
            return problem("no-such-order", f"There is no order {orderId}.")
        return json_answer(
            {
                "orderId": payment.order_id,
                "phase": payment.phase or None,
                "receivedInCents": payment.received,
                "refundedInCents": payment.refunded,
                "openDisputes": payment.open_disputes,
                "lostDisputes": payment.lost_disputes,
                "lostInCents": payment.lost,
                "anomalies": payment.anomalies,
                "needsRefund": payment.needs_refund,
            }
        )

    def refund_order(self, orderId: int) -> Response:  # noqa: N803  # the name in the documented path
        """Refund an order's payment

        An amount, or without one all that is left. For staff and admins. The order keeps its status, but can be
        cancelled once all is refunded; the answer's ETag is its version with the refund. The Idempotency-Key is
        required: nobody refunds twice because an answer was lost.
        """
        actor = self._callers.actor()
        body = read_json(request)
        amount = load_refund(body)
        cause = cause_of("refund_order", {"orderId": orderId, "body": body})
        if cause.idempotency_key is None:
            raise Refusal("invalid-header", f"A refund needs the header {idempotency.HEADER}.")
        try:
            made = self._ledger.refund_order(orderId, amount, actor=actor, cause=cause)
        except UnknownOrder as error:
            raise Refusal("no-such-order", str(error)) from error
        document = {
            "id": made.refund.id,
            "orderId": made.order_id,
            "amountInCents": made.refund.amount,
            "currency": made.refund.currency,
            "status": made.refund.status,
        }
        replayed = {idempotency.REPLAYED: "true"} if made.replayed else {}
        return json_answer(document, 201, {"ETag": etag(made.version), **replayed})

    def create_payment_intent(self) -> Response:
        """Begin a payment that belongs to no order

        Nothing is recorded of it, now or when it is paid. Orders have payments of their own, and need none of these.
        """
        actor = self._callers.actor()
        body = read_json(request)
        amount = load_payment(body)
        intent = self._ledger.open_payment(amount, actor=actor, cause=cause_of("open_payment", body))
        document = {
            "id": intent.id,
            "amount": intent.amount,
            "currency": intent.currency,
            "clientSecret": intent.client_secret,
            "status": intent.status,
        }
        return json_answer(document, 201)
