"""What the API answers: shapes, which document and through which no body is run, and how small ones are rendered."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Response
from marshmallow import INCLUDE, fields, validate

from api.schemas import IDS, Strict
from ledger.events import EVENT_TYPES, ORDER_EVENTS
from ledger.leads import LEAD_STATUSES
from ledger.payments.gateway import PaymentKind
from ledger.statuses import Status

_STATUS = validate.OneOf([status.value for status in Status])
_CENTS = {"minimum": 0, "description": "Integer cents."}
_CURRENCY = "^[a-z]{3}$"
_PHASES = [
    kind.value for kind in PaymentKind if kind not in {PaymentKind.REFUNDED, PaymentKind.REFUND, PaymentKind.DISPUTE}
]


def _required_integer(**metadata: object) -> fields.Integer:
    return fields.Integer(required=True, metadata=metadata)


def _required_text(**metadata: object) -> fields.String:
    return fields.String(required=True, metadata=metadata)


class OrderLineSchema(Strict):
    """A line of an order, or of the demo cart; a cart of these can be posted as it is."""

    id = _required_integer(**IDS)
    name = _required_text()
    quantity = _required_integer(minimum=1)
    priceInCents = _required_integer(**_CENTS)  # noqa: N815


class OrderSchema(Strict):
    """An order."""

    id = _required_integer(**IDS)
    userId = _required_integer(**IDS)  # noqa: N815
    date = _required_text(format="date-time", description="When the order was placed: RFC 3339, UTC, ending in Z.")
    products = fields.List(fields.Nested(OrderLineSchema), required=True)
    amountInCents = _required_integer(**_CENTS)  # noqa: N815
    clientSecret = _required_text(description="The client secret of the order's Stripe PaymentIntent.")  # noqa: N815
    status = fields.String(required=True, validate=_STATUS)


class StatusUpdatedSchema(Strict):
    """The status an order has now."""

    id = _required_integer(**IDS)
    status = fields.String(required=True, validate=_STATUS)


class RefundedSchema(Strict):
    """A refund of an order's payment."""

    id = _required_text(description="The refund's id at the payment gateway.")
    orderId = _required_integer(**IDS)  # noqa: N815
    amountInCents = _required_integer(**_CENTS)  # noqa: N815
    currency = _required_text(pattern=_CURRENCY)
    status = _required_text(description="In Stripe's words: pending, requires_action, succeeded, failed or canceled.")


class PaymentSchema(Strict):
    """How an order's payment stands: the sum of all that the payment gateway has told of it."""

    orderId = _required_integer(**IDS)  # noqa: N815
    phase = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(_PHASES),
        metadata={"description": "The latest that is known of paying; null: nothing."},
    )
    receivedInCents = _required_integer(**_CENTS)  # noqa: N815
    refundedInCents = _required_integer(**_CENTS)  # noqa: N815
    openDisputes = _required_integer(minimum=0)  # noqa: N815
    lostDisputes = _required_integer(minimum=0)  # noqa: N815
    lostInCents = _required_integer(**_CENTS)  # noqa: N815
    anomalies = _required_integer(minimum=0, description="How many notices did not fit the order.")
    needsRefund = fields.Boolean(  # noqa: N815
        required=True, metadata={"description": "Whether money is kept for an order that is cancelled or declined."}
    )


class ActorSchema(Strict):
    """Who did it; a user only where it was not the ledger itself."""

    user = fields.Integer(required=True, allow_none=True)
    role = _required_text()
    impersonatedBy = fields.Integer(metadata={"description": "Who acted for the user."})  # noqa: N815


class CauseSchema(Strict):
    """Why it happened."""

    requestId = fields.String()  # noqa: N815
    idempotencyKey = fields.String()  # noqa: N815
    requestHash = fields.String()  # noqa: N815
    stripeEventId = fields.String()  # noqa: N815
    reason = fields.String(metadata={"description": "What the person who asked for it has given."})
    traceId = fields.String(metadata={"description": "The trace that the request was a part of."})  # noqa: N815
    partOfVersion = fields.Integer(  # noqa: N815
        metadata={"description": "It is a part of what the event of that version tells."}
    )


class ChangeSchema(Strict):
    """What something was before and is since."""

    previous = fields.Raw(required=True, allow_none=True)
    current = fields.Raw(required=True, allow_none=True)


class RecordedEventSchema(Strict):
    """An event at its place in the log."""

    position = _required_integer(**IDS)
    stream = _required_text()
    version = _required_integer(**IDS)
    type = fields.String(required=True, validate=validate.OneOf([type.TOPIC for type in EVENT_TYPES]))
    body = fields.Dict(
        keys=fields.String(), required=True, metadata={"description": "As it is stored (docs/formats.md)."}
    )


class HistoryEventSchema(Strict):
    """An event of an order."""

    position = _required_integer(**IDS)
    version = _required_integer(**IDS)
    type = fields.String(required=True, validate=validate.OneOf([type.TOPIC for type in ORDER_EVENTS]))
    timestamp = _required_text(format="date-time")
    actor = fields.Nested(ActorSchema, required=True)
    cause = fields.Nested(CauseSchema, required=True)
    changes = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(ChangeSchema),
        required=True,
        metadata={"description": "What it changed of the order: its status, the sums of its payment."},
    )
    data = fields.Dict(
        keys=fields.String(), required=True, metadata={"description": "What else the event says (docs/formats.md)."}
    )


class ProvenEventSchema(Strict):
    """An event of an order, and what proves that it is in the log."""

    position = _required_integer(**IDS)
    version = _required_integer(**IDS)
    leaf = _required_text(description="What is hashed of it: docs/audit.md.")
    proof = fields.String(
        required=True, allow_none=True, metadata={"description": "A tlog-proof; null while no checkpoint has it."}
    )


class ConsistencySchema(Strict):
    """That the log of one size begins with the log of another."""

    old = fields.Integer(required=True, data_key="from", metadata={"minimum": 0})
    to = _required_integer(minimum=0)
    hashes = fields.List(
        fields.String(), required=True, metadata={"description": "In base64, in the order of RFC 6962, section 2.1.2."}
    )


class CosignedAnswerSchema(Strict):
    """The cosignatures are kept."""

    size = _required_integer(minimum=0)


class IntentSchema(Strict):
    """A Stripe PaymentIntent that belongs to no order."""

    id = _required_text()
    amount = _required_integer(**_CENTS)
    currency = _required_text(pattern=_CURRENCY)
    clientSecret = _required_text(description="What a client pays it with.")  # noqa: N815
    status = _required_text(description="In Stripe's words, such as requires_payment_method.")


class ReceivedSchema(Strict):
    """A webhook has arrived."""

    received = fields.Boolean(required=True)


class EndpointSchema(Strict):
    """A webhook endpoint, and how its deliveries stand."""

    id = _required_text()
    url = _required_text()
    types = fields.List(fields.String(), required=True)
    position = _required_integer(minimum=0)
    disabled = fields.String(required=True, allow_none=True)
    delivered = _required_integer(minimum=0)
    waiting = _required_integer(minimum=0)
    failing = _required_integer(minimum=0)
    dead = _required_integer(minimum=0)
    error = fields.String(required=True, allow_none=True)
    createdAt = _required_text(format="date-time")  # noqa: N815


class NewEndpointSchema(EndpointSchema):
    """A webhook endpoint with its secret, which is shown once."""

    secret = _required_text()


class SecretSchema(Strict):
    """A new secret, which is shown once."""

    secret = _required_text()


class DeadWebhookSchema(Strict):
    """A webhook that was given up: of which event, and what went wrong last."""

    position = _required_integer(minimum=1)
    stream = _required_text()
    error = _required_text()


class ReplayedSchema(Strict):
    """How many webhooks are tried again."""

    replayed = _required_integer(minimum=0)


class LeadPlaceSchema(Strict):
    """A lead status at its place on the board, 1 being the first."""

    id = _required_integer(minimum=1, maximum=len(LEAD_STATUSES))
    statusOrder = _required_integer(minimum=1, maximum=len(LEAD_STATUSES))  # noqa: N815


class LeadStatusSchema(LeadPlaceSchema):
    """A lead status with its name."""

    name = _required_text()


class ProblemSchema(Strict):
    """An error (RFC 9457). `errors` maps paths in the body, or names of query parameters, to messages."""

    class Meta:
        unknown = INCLUDE

    type = _required_text(format="uri-reference", description="Explained by the page of that address.")
    title = _required_text()
    status = _required_integer(minimum=400, maximum=599)
    detail = _required_text()
    requestId = _required_text(description="The same as in the X-Request-Id header.")  # noqa: N815
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))


class StateSchema(Strict):
    """How a probe went."""

    status = _required_text()


class IndexSchema(Strict):
    """Where to go from here."""

    name = _required_text()
    documentation = _required_text(format="uri-reference")
    openapi = _required_text(format="uri-reference")


def empty_answer(headers: Mapping[str, str]) -> Response:
    """A success that has nothing to say (204)."""
    response = Response(status=204, headers=headers)
    del response.headers["Content-Type"]
    return response


def json_answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A success that nobody may keep."""
    body = json.dumps(document, separators=(",", ":"))
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, content_type="application/json")
