"""What the OpenAPI document says about the audit endpoints, beside their docstrings."""

from __future__ import annotations

from api.answers import RecordedEventSchema
from api.openapi import BEARER, answer, parameter, problems
from api.schemas import IDS
from api.strict_json import MAX_INTEGER
from ledger.events import EVENT_TYPES

_AFTER = parameter(
    "query", "after", "Only events after this position.", type="integer", minimum=0, maximum=MAX_INTEGER, default=0
)
_LINK = {"description": 'The next page (RFC 8288, `rel="next"`), if there is one.', "schema": {"type": "string"}}
_ETAG = {"description": "Changes with the page.", "required": True, "schema": {"type": "string"}}
_SENT = {
    "type": "object",
    "description": "An event of the stream: its position, its type, and as data the JSON of RecordedEvent.",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["id", "event", "data"],
}

EVENTS = {
    "security": BEARER,
    "parameters": [
        _AFTER,
        parameter("query", "limit", "How many events at most.", type="integer", minimum=1, maximum=1000, default=1000),
        parameter("query", "type", "Only events of this type.", type="string", enum=[e.TOPIC for e in EVENT_TYPES]),
        parameter("query", "user", "Only what this user caused.", type="integer", **IDS),
        parameter(
            "query",
            "stream",
            "Only events of this stream: `order-17` is order 17, `leads-7` the lead board of user 7.",
            type="string",
            pattern="^[a-z]+-[1-9][0-9]{0,15}$",
        ),
        parameter("header", "If-None-Match", "ETags that the client has already; 304 if current.", type="string"),
    ],
    "responses": answer(200, "The events.", RecordedEventSchema(many=True), ETag=_ETAG, Link=_LINK)
    | answer(304, "The client has this page already.", None, ETag=_ETAG, Link=_LINK)
    | problems(400, 401, 403, 404, 503),
}

STREAM = {
    "security": BEARER,
    "parameters": [
        _AFTER,
        parameter(
            "header",
            "Last-Event-ID",
            "The position that the client has seen last; goes before `after`.",
            type="integer",
            minimum=0,
            maximum=MAX_INTEGER,
        ),
    ],
    "responses": answer(200, "The events.", _SENT, media_type="text/event-stream") | problems(400, 401, 403, 404, 503),
}
