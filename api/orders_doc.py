"""What the OpenAPI document says about the order endpoints, beside their docstrings."""

from __future__ import annotations

from api import idempotency
from api.answers import OrderLineSchema, OrderSchema, StatusUpdatedSchema
from api.openapi import BEARER, ETAG, IF_MATCH, PUBLIC, answer, body, parameter, problems
from api.paging import MAX_LIMIT
from api.schemas import STATUS_INPUT, StatusUpdateSchema
from api.strict_json import MAX_INTEGER
from ledger.statuses import TRANSITIONS, Status

_ID = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
_KEY = parameter(
    "header",
    idempotency.HEADER,
    "Makes repeats safe: the first request with this key that records something decides, repeats answer the same. "
    "Bare, or a quoted string; keys are per user.",
    type="string",
    pattern=idempotency.KEY_PATTERN,
)
_REPLAYED = {
    "description": "Present when an earlier request with the same Idempotency-Key did it.",
    "schema": {"type": "string", "enum": ["true"]},
}
_LINK = {"description": 'The next page (RFC 8288, `rel="next"`), if there is one.', "schema": {"type": "string"}}
_MOVES = "\n".join(
    (
        "| from | to |",
        "|---|---|",
        *(
            f"| {status} | {', '.join(each for each in Status if each in to)} |"
            for status, to in TRANSITIONS.items()
            if to
        ),
        "",
        "Nothing leads on from a status that is not on the left. A paid order can be cancelled after a full refund.",
    )
)
_LOCATION = {"description": "The new order.", "required": True, "schema": {"type": "string", "format": "uri-reference"}}

LIST = {
    "security": BEARER,
    "parameters": [
        {"in": "query", "name": "status", "description": "Only orders in this status.", "schema": STATUS_INPUT},
        parameter(
            "query",
            "limit",
            "How many orders at most.",
            type="integer",
            minimum=1,
            maximum=MAX_LIMIT,
            default=MAX_LIMIT,
        ),
        parameter("query", "cursor", "Where to go on: taken from the Link header of the page before.", **_ID),
    ],
    "responses": answer(200, "The orders.", OrderSchema(many=True), Link=_LINK) | problems(400, 401, 503),
}

DEMO_CART = {
    "security": PUBLIC,
    "responses": answer(200, "Sample products.", OrderLineSchema(many=True)) | problems(),
}

DETAIL = {
    "security": BEARER,
    "parameters": [
        parameter("path", "orderId", "The order's id.", **_ID),
        parameter("header", "If-None-Match", "ETags that the client has already; 304 if current.", type="string"),
    ],
    "responses": answer(200, "The order.", OrderSchema, ETag=ETAG)
    | answer(304, "The client has this version already.", None, ETag=ETAG)
    | problems(401, 404, 503),
}

CREATE = {
    "security": BEARER,
    "parameters": [_KEY],
    "requestBody": body(
        "Cart",
        references=["1", "1", "MUG-STONE-350"],
        items=[{"id": 1, "quantity": 2}],
    ),
    "responses": answer(
        201, "The new order.", OrderSchema, ETag=ETAG, Location=_LOCATION, Idempotency_Replayed=_REPLAYED
    )
    | problems(400, 401, 413, 415, 422, 503),
}

UPDATE_STATUS = {
    "security": BEARER,
    "parameters": [_KEY, IF_MATCH],
    "appendix": _MOVES,
    "requestBody": body(StatusUpdateSchema, cancel={"orderId": 123, "status": "Cancelled"}),
    "responses": answer(200, "The status it has now.", StatusUpdatedSchema, ETag=ETAG, Idempotency_Replayed=_REPLAYED)
    | problems(400, 401, 412, 413, 415, 422, 503),
}
