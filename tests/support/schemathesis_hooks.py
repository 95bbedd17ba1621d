"""What the specification refuses although the OpenAPI document can't say so; loaded by schemathesis itself.

No check is switched off. `positive_data_acceptance` wants a request of the documented shape to be accepted; the
specification has some such requests refused for their meaning, with 400, 412 or 422. Of that check's failures, those
of these operations with exactly these problem types are right, and all others count.
"""

from __future__ import annotations

from typing import Any

import schemathesis

REFUSED_FOR_MEANING = {
    # An unknown product, a price that is not the catalogue's, too large an amount; a key of another request.
    "POST /orders/new": {"invalid-cart", "idempotency-key-reused"},
    # No such order, a move that is not in the table or not the caller's, one that the payment does not support,
    # an order at another version than If-Match names; a key of another request.
    "POST /orders/status-update": {
        "unknown-order",
        "illegal-move",
        "move-not-allowed",
        "payment-not-confirmed",
        "refund-required",
        "version-mismatch",
        "idempotency-key-reused",
    },
    # A lead status, or a place, that is named twice.
    "PUT /leads/statuses/order": {"invalid-arrangement"},
}


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    slug = response.json()["type"].removeprefix("/problems/")
    return slug not in REFUSED_FOR_MEANING.get(case.operation.label, set())
