"""What the OpenAPI document says about payments and webhooks, beside the docstrings of their endpoints."""

from __future__ import annotations

from api import idempotency
from api.answers import IntentSchema, PaymentSchema, ReceivedSchema, RefundedSchema
from api.openapi import (
    BEARER,
    ETAG,
    IDEMPOTENCY_KEY,
    ORDER_ID,
    PUBLIC,
    REPLAYED,
    answer,
    body,
    parameter,
    problems,
)
from api.schemas import PaymentIntentSchema, RefundSchema

PAYMENT = {
    "security": BEARER,
    "parameters": [ORDER_ID],
    "responses": answer(200, "The payment.", PaymentSchema) | problems(401, 404, 503),
}

REFUND = {
    "security": BEARER,
    "parameters": [ORDER_ID, IDEMPOTENCY_KEY | {"required": True}],
    "requestBody": body(RefundSchema, part={"amountInCents": 500}, rest={}),
    "responses": answer(201, "The refund.", RefundedSchema, ETag=ETAG, Idempotency_Replayed=REPLAYED)
    | problems(400, 401, 403, 404, 413, 415, 422, 503),
}

CREATE = {
    "security": BEARER,
    "parameters": [
        parameter(
            "header",
            idempotency.HEADER,
            "Stripe answers repeats of a request with the intent that it made for the first, for a day. Bare, or a "
            "quoted string; keys are per user.",
            type="string",
            pattern=idempotency.KEY_PATTERN,
        )
    ],
    "requestBody": body(PaymentIntentSchema, ten={"amount": 1000}),
    "responses": answer(201, "The payment intent.", IntentSchema) | problems(400, 401, 413, 415, 503),
}

WEBHOOK = {
    "security": PUBLIC,
    "parameters": [
        parameter("header", "Stripe-Signature", "Stripe's signature of the body's bytes.", type="string")
        | {"required": True}
    ],
    "requestBody": body(
        {"type": "object", "description": "A Stripe event, as Stripe documents it."},
        received={
            "id": "evt_1",
            "object": "event",
            "type": "payment_intent.succeeded",
            "created": 1772000000,
            "data": {
                "object": {
                    "id": "pi_1",
                    "amount_received": 1999,
                    "currency": "usd",
                    "metadata": {"order_id": "1", "ledger_id": "46ba3a1b3d1e4a52"},
                }
            },
        },
    ),
    "responses": answer(200, "It has arrived, and need not be sent again.", ReceivedSchema)
    | problems(400, 404, 413, 415, 503, limited=False),
}
