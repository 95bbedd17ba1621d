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
        trace_id=current_trace(),
    )


def unkeyed_cause() -> Cause:
    """The request being served as a cause, whatever Idempotency-Key it carries: for what may be asked again freely."""
    return Cause(request_id=current_request_id(), trace_id=current_trace())


def current_trace() -> str | None:
    """The id of the trace that the request being served belongs to, if it says so."""
    return trace_id(request.environ.get("HTTP_TRACEPARENT"))
