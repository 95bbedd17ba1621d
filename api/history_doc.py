"""What the OpenAPI document says about histories, beside their docstrings."""

from __future__ import annotations

from api.answers import HistoryEventSchema
from api.openapi import BEARER, ORDER_ID, answer, problems

HISTORY = {
    "security": BEARER,
    "parameters": [ORDER_ID],
    "responses": answer(200, "The events, oldest first.", HistoryEventSchema(many=True)) | problems(401, 404, 503),
}
