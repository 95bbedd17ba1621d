"""What the OpenAPI document says about the order endpoints, beside their docstrings."""

from __future__ import annotations

from api.answers import OrderLineSchema, OrderSchema, StatusUpdatedSchema
from api.openapi import (
    BEARER,
    ETAG,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    ORDER_ID,
    PUBLIC,
    REPLAYED,
    answer,
    body,
    parameter,
    problems,
)
from api.paging import MAX_LIMIT
from api.schemas import IDS, STATUS_INPUT, StatusUpdateSchema
from ledger.statuses import TRANSITIONS, Status

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
        parameter(
            "query", "cursor", "Where to go on: taken from the Link header of the page before.", type="integer", **IDS
        ),
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
        ORDER_ID,
        parameter("query", "version", "The order as it was at this version.", type="integer", **IDS),
        parameter("query", "asOf", "The order as it was at this time.", type="string", format="date-time"),
        parameter("header", "If-None-Match", "ETags that the client has already; 304 if current.", type="string"),
    ],
    "responses": answer(200, "The order.", OrderSchema, ETag=ETAG)
    | answer(304, "The client has this version already.", None, ETag=ETAG)
    | problems(400, 401, 404, 503),
}

CREATE = {
    "security": BEARER,
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": body(
        "Cart",
        references=["1", "1", "MUG-STONE-350"],
        items=[{"id": 1, "quantity": 2}],
    ),
    "responses": answer(
        201, "The new order.", OrderSchema, ETag=ETAG, Location=_LOCATION, Idempotency_Replayed=REPLAYED
    )
    | problems(400, 401, 413, 415, 422, 503),
}

UPDATE_STATUS = {
    "security": BEARER,
    "parameters": [IDEMPOTENCY_KEY, IF_MATCH],
    "appendix": _MOVES,
    "requestBody": body(StatusUpdateSchema, cancel={"orderId": 123, "status": "Cancelled"}),
    "responses": answer(200, "The status it has now.", StatusUpdatedSchema, ETag=ETAG, Idempotency_Replayed=REPLAYED)
    | problems(400, 401, 412, 413, 415, 422, 503),
}
