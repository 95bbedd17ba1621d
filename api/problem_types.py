"""Every problem type that the API answers: one table, from which errors are rendered and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A problem type; ``retry_after`` is in seconds and set where sending the same request again makes sense."""

    status: int
    title: str
    explanation: str
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What every answer of this type has."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


PROBLEM_TYPES: Mapping[str, ProblemType] = MappingProxyType(
    {
        "no-such-position": ProblemType(
            404,
            "No such position in the log",
            "The log ends before that position. To a reader who has seen an event there this says that the log was cut "
            "off, or that this is another ledger.",
        ),
        "no-such-tile": ProblemType(
            404, "No such tile", "The path is not that of a tile, or the log's tree has not as many entries yet."
        ),
        "no-checkpoint": ProblemType(
            404, "No checkpoint", "No checkpoint of the log was signed yet, or there is no key to sign with."
        ),
        "invalid-cosignature": ProblemType(
            400,
            "Invalid cosignature",
            "That is not a checkpoint of this log with a good cosignature of a witness that this ledger knows. Nothing "
            "was kept of it.",
        ),
        "invalid-endpoint": ProblemType(
            400,
            "Invalid webhook endpoint",
            "Webhooks are not sent to that URL: it is malformed, or its host can't be found or has an address that is "
            "not public. Or there are as many endpoints as there may be. `errors` says which.",
        ),
        "no-such-endpoint": ProblemType(404, "No such webhook endpoint", "It was never registered, or is removed."),
        "not-proven-yet": ProblemType(
            404, "Not proven yet", "The event is recorded, and no signed checkpoint has it yet: ask again soon."
        ),
        "too-many-streams": ProblemType(
            429, "Too many streams", "As many clients as there is room for follow the log already; try again later.", 5
        ),
        "too-many-requests": ProblemType(
            429,
            "Too many requests",
            "More requests than this ledger allows a user, or an address. `Retry-After` says when to go on; the header "
            "fields `RateLimit` and `RateLimit-Policy` of every answer say what is left.",
        ),
        "no-such-version": ProblemType(
            404,
            "No such version of the order",
            "The order had not got to that version yet, or did not exist at that time.",
        ),
        "bad-request": ProblemType(
            400, "Bad request", "The request is not valid HTTP, or its path, query or a header can't be understood."
        ),
        "invalid-query": ProblemType(
            400,
            "Invalid query parameters",
            "A query parameter is unknown, given twice, or has a value outside its range; `errors` names each.",
        ),
        "invalid-header": ProblemType(
            400, "Invalid request header", "A header such as If-Match or Idempotency-Key is malformed."
        ),
        "malformed-json": ProblemType(
            400,
            "Malformed JSON",
            "The body is missing, or is not strict JSON: UTF-8 text, no duplicate names, no NaN or Infinity, integers "
            "within 2^53 - 1 either side of zero, no NUL or unpaired surrogate in strings, and no deep nesting.",
        ),
        "invalid-body": ProblemType(
            400,
            "Invalid body",
            "The body is JSON, but not of the documented shape; `errors` maps paths in the body to messages.",
        ),
        "invalid-cart": ProblemType(
            400,
            "Invalid cart",
            "The cart can't become an order: an unknown product, a quantity or amount out of range, or a price that "
            "is not the catalogue's. `errors` maps paths in the cart to messages. Nothing was recorded.",
        ),
        "invalid-arrangement": ProblemType(
            400,
            "Invalid arrangement of lead statuses",
            "A lead status is unknown or named twice, or a place is outside the board. Nothing was recorded.",
        ),
        "unknown-status": ProblemType(
            400,
            "Unknown status",
            "There is no such order status. Statuses may be written in any case, with a space, `_` or `-` between "
            "words: pending, awaiting_payment, payment_failed, order_paid, shipped, completed, cancelled, declined.",
        ),
        "unknown-order": ProblemType(
            400, "Unknown order", "There is no such order, or it belongs to somebody else. The two are not told apart."
        ),
        "illegal-move": ProblemType(
            400, "Illegal move", "The order's present status can't change to the requested one, whoever asks."
        ),
        "move-not-allowed": ProblemType(
            400, "Move not allowed", "The order may make this move, but you may not ask for it."
        ),
        "payment-not-confirmed": ProblemType(
            400,
            "Payment not confirmed",
            "The payment gateway does not confirm that the order's payment succeeded, so it can't count as paid.",
        ),
        "unknown-payment": ProblemType(
            400,
            "Unknown payment",
            "The payment gateway in use does not know the order's payment: it was begun at another gateway or account. "
            "Nothing was recorded.",
        ),
        "refund-required": ProblemType(
            400, "Refund required", "A paid order can be cancelled only after all that was received is refunded."
        ),
        "payment-in-progress": ProblemType(
            400,
            "Payment in progress",
            "The order's payment is under way, as bank payments are for days: the order can be cancelled if it fails.",
        ),
        "refund-refused": ProblemType(
            400,
            "Refund refused",
            "Of the order's payment nothing, or less than that, is left to refund. Nothing was recorded.",
        ),
        "invalid-amount": ProblemType(
            400, "Invalid amount", "An amount is an integer number of cents from 1 to 99,999,999; `errors` names it."
        ),
        "invalid-signature": ProblemType(
            400,
            "Invalid signature",
            "The `Stripe-Signature` header is missing, is not that of the body with a secret that is known here, or is "
            "too old. Nothing was read from the body.",
        ),
        "malformed-notice": ProblemType(
            400,
            "Malformed notice",
            "The webhook is signed, but is not an event as Stripe documents it: what it tells of a payment can't be "
            "read. Nothing was recorded; it is refused so that it is not lost.",
        ),
        "unauthenticated": ProblemType(
            401,
            "Not authenticated",
            "The request needs a bearer token (`Authorization: Bearer ...`): a JSON Web Token that is signed by the "
            "right key, has not expired, and names the user in `sub`.",
        ),
        "forbidden": ProblemType(403, "Forbidden", "Only staff and admins may do this."),
        "not-found": ProblemType(404, "Not found", "There is nothing at this path."),
        "no-such-order": ProblemType(
            404, "No such order", "There is no such order, or it belongs to somebody else. The two are not told apart."
        ),
        "webhooks-not-set-up": ProblemType(
            404, "Webhooks not set up", "This server has no secret by which it could tell that a webhook is genuine."
        ),
        "method-not-allowed": ProblemType(
            405, "Method not allowed", "The path exists, but not with this method; the Allow header lists those it has."
        ),
        "version-mismatch": ProblemType(
            412,
            "Version mismatch",
            "The order has changed since the version named in If-Match. Fetch it and decide anew.",
        ),
        "request-too-large": ProblemType(413, "Request too large", "A body may be at most 1 MiB."),
        "unsupported-media-type": ProblemType(
            415, "Unsupported media type", "Bodies are `application/json` in UTF-8, without a content coding."
        ),
        "idempotency-key-reused": ProblemType(
            422,
            "Idempotency key reused",
            "This Idempotency-Key already belongs to another request of yours with a different body.",
        ),
        "internal-error": ProblemType(
            500, "Internal error", "Something went wrong on our side. The log has the details under the request id."
        ),
        "unreadable-event": ProblemType(
            500,
            "Unreadable event",
            "The log has an event of this order that is not what its type says, or lacks one before it: it was changed "
            "in the database, or written by a later release. `order-ledger verify` says whether the log was changed.",
        ),
        "busy": ProblemType(
            503,
            "Busy",
            "Other writers were faster, several times. Nothing was recorded; send the request again, with the same "
            "Idempotency-Key if it had one.",
            1,
        ),
        "storage-unavailable": ProblemType(
            503,
            "Storage unavailable",
            "The database can't be reached or is overloaded. A change may have been recorded all the same, and only "
            "its answer lost: send the request again later, with the same Idempotency-Key, and it happens once.",
            5,
        ),
        "payments-unavailable": ProblemType(
            503,
            "Payments unavailable",
            "The payment gateway can't be reached, or is still busy with the same request. Nothing was recorded; send "
            "the request again later, with the same Idempotency-Key if it had one, so that nothing is begun twice.",
            5,
        ),
        "order-not-there-yet": ProblemType(
            503,
            "Order not there yet",
            "The webhook tells of money for an order that is not recorded, though it may be in a moment. Nothing was "
            "recorded; send the webhook again later.",
            5,
        ),
        "keys-unavailable": ProblemType(
            503, "Token keys unavailable", "The keys that verify bearer tokens can't be fetched; try again later.", 5
        ),
        "not-ready": ProblemType(503, "Not ready", "The service can't work yet; the detail says why.", 5),
    }
)
"""By slug; a problem's ``type`` is ``/problems/<slug>``."""
