"""The endpoint that the payment gateway tells of payments."""

from __future__ import annotations

import logging
from typing import Any

from flask import Response, request

from api import openapi, payments_doc
from api.answers import json_answer
from api.causes import current_trace
from api.metrics import Metrics, WebhookOutcome
from api.problems import problem
from api.services import Services
from api.strict_json import read_body
from ledger.actor import PAYMENTS, Cause
from ledger.errors import ForgedNotice, MalformedNotice
from ledger.payments.gateway import PaymentNotice

_log = logging.getLogger(__name__)


class WebhookRoutes:
    """Takes what is signed, and leaves the rest."""

    def __init__(self, services: Services, counted: Metrics) -> None:
        self._ledger = services.ledger
        self._webhooks = services.webhooks
        self._metrics = counted

    def blueprint(self) -> Any:
        """The route with its documentation."""
        routes = openapi.blueprint("Webhooks", "For the payment gateway.")
        openapi.operation(routes, "/webhooks/stripe", "POST", self.receive_stripe_event, **payments_doc.WEBHOOK)
        return routes

    def receive_stripe_event(self) -> Response:
        """Receive a Stripe event

        For Stripe alone: the signature is checked on the bytes as they came, before anything is read from them. Each
        event takes effect once, however often and in whatever order events come. What tells nothing of an order's
        payment is acknowledged and ignored. A payment for an order that is not recorded yet is refused with 503, so
        that Stripe sends it again.
        """
        if self._webhooks is None:
            return problem("webhooks-not-set-up", "No webhook secret is set on this server.")
        outcome = WebhookOutcome.REFUSED
        try:
            event = self._webhooks.read(read_body(request), request.environ.get("HTTP_STRIPE_SIGNATURE"))
            outcome = self._take(event.id, event.notice)
        except ForgedNotice as error:
            outcome = WebhookOutcome.FORGED
            _log.warning("a webhook is refused; is STRIPE_WEBHOOK_SECRET the endpoint's? %s", error)
            raise
        except MalformedNotice as error:
            _log.warning("a signed webhook is refused: %s", error)
            raise
        finally:
            self._metrics.count_webhook(outcome)
        return json_answer({"received": True})

    def _take(self, event_id: str, notice: PaymentNotice | None) -> WebhookOutcome:
        if notice is None:
            return WebhookOutcome.IGNORED
        cause = Cause(stripe_event_id=event_id, trace_id=current_trace())
        outcome = self._ledger.record_payment(notice, actor=PAYMENTS, cause=cause)
        if outcome is None:
            return WebhookOutcome.IGNORED
        return WebhookOutcome.KNOWN if outcome.replayed else WebhookOutcome.RECORDED
