"""What schemathesis is told not to count, as narrowly as can be said; it loads this file itself.

No check is switched off. `positive_data_acceptance` wants every request of the documented shape to be accepted, which
is more than the specification says and more than an OpenAPI document can express. Of that check's failures those
below are right; all others count, and so does every failure of another check.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    # Nothing, or less than that, is left to refund; a key of another request.
    "POST /orders/{orderId}/refunds": {"refund-refused", "idempotency-key-reused"},
    # A lead status, or a place, that is named twice.
    "PUT /leads/statuses/order": {"invalid-arrangement"},
    # No document says how to sign.
    "POST /webhooks/stripe": {"invalid-signature"},
    "POST /log/cosignatures": {"invalid-cosignature"},
    # A URL that is none, or leads nowhere.
    "POST /webhook-endpoints": {"invalid-endpoint"},
}
"""By operation, the problem types of well-formed requests that the specification has refused for their meaning."""


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code not in {400, 412, 422}:
        return True
    document = response.json()
    slug = document["type"].removeprefix("/problems/")
    if slug == "invalid-body":
        return not _only_fractions(case.body, document["errors"])
    if slug == "invalid-header":
        return not _unquoted_tag(case)
    return slug not in REFUSED_FOR_MEANING.get(case.operation.label, set())


def _only_fractions(body: Any, errors: dict[str, list[str]]) -> bool:
    """Whether every fault is a number like 1.0: to JSON Schema an integer, but quantities and ids are sent as 1."""
    return all(type(value) is float and value.is_integer() for value in _at(body, errors))


def _at(body: Any, paths: dict[str, list[str]]) -> Iterator[Any]:
    for path in paths:
        value = body
        for part in path.split("."):
            value = value[int(part) if isinstance(value, list) else part]
        yield value


def _unquoted_tag(case: Any) -> bool:
    """Whether this is an If-Match that only schemathesis takes for one: it does not match the documented pattern.

    Its coverage phase finds no string for that pattern and sends the number 0 (4.32); its fuzzing phase does find them.
    """
    return str((case.headers or {}).get("If-Match")) == "0"
