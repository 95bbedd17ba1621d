"""What led to an event: the request being served."""

from __future__ import annotations

from typing import Any

from flask import request

from api.idempotency import idempotency_key, request_hash
from api.request_ids import current_request_id
from api.traces import trace_id
from ledger.actor import Cause


def cause_of(operation: str, sent: Any) -> Cause:
    """The request being served as a cause; ``sent`` is all that tells one request of this operation from another.

    Refuses a malformed Idempotency-Key.
    """
    key = idempotency_key(request.environ.get("HTTP_IDEMPOTENCY_KEY"))
    return Cause(
        request_id=current_request_id(),
        idempotency_key=key,
        request_hash=None if key is None else request_hash(operation, sent),
        trace_id=trace_id(request.environ.get("HTTP_TRACEPARENT")),
    )
