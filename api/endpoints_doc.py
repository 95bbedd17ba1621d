"""What the OpenAPI document says about webhook endpoints, beside the docstrings of the routes."""

from __future__ import annotations

from api.answers import DeadWebhookSchema, EndpointSchema, NewEndpointSchema, ReplayedSchema, SecretSchema
from api.openapi import BEARER, answer, body, parameter, problems
from api.schemas import EndpointInputSchema
from api.strict_json import MAX_INTEGER
from projections.webhooks.endpoints import ID_PATTERN

_ID = parameter("path", "endpointId", "The endpoint's id.", type="string", pattern=f"^{ID_PATTERN}$")
_POSITION = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
_REFUSED = (401, 403, 404, 503)

LIST = {
    "security": BEARER,
    "responses": answer(200, "The endpoints.", EndpointSchema(many=True)) | problems(401, 403, 503),
}
ADD = {
    "security": BEARER,
    "requestBody": body(
        EndpointInputSchema,
        all={"url": "https://shop.example/webhooks"},
        some={"url": "https://shop.example/webhooks", "types": ["order.status_changed"], "after": 0},
    ),
    "responses": answer(201, "The endpoint with its secret.", NewEndpointSchema)
    | problems(400, 401, 403, 413, 415, 503),
}
REMOVE = {
    "security": BEARER,
    "parameters": [_ID],
    "responses": answer(204, "It is forgotten.", None) | problems(*_REFUSED),
}
ROTATE = {
    "security": BEARER,
    "parameters": [_ID],
    "responses": answer(200, "The new secret.", SecretSchema) | problems(*_REFUSED),
}
ENABLE = {
    "security": BEARER,
    "parameters": [_ID],
    "responses": answer(200, "The endpoint.", EndpointSchema) | problems(*_REFUSED),
}
DEAD = {
    "security": BEARER,
    "parameters": [
        _ID,
        parameter("query", "after", "Only those after this position.", **_POSITION, default=0),
    ],
    "responses": answer(200, "What was given up.", DeadWebhookSchema(many=True)) | problems(400, *_REFUSED),
}
DISCARD = {
    "security": BEARER,
    "parameters": [_ID],
    "responses": answer(204, "They are forgotten.", None) | problems(*_REFUSED),
}
REPLAY = {
    "security": BEARER,
    "parameters": [_ID],
    "responses": answer(200, "How many are tried again.", ReplayedSchema) | problems(*_REFUSED),
}
