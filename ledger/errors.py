"""Every refusal of the domain, by name.

``code`` is the stable slug that the HTTP API shows as the problem type; ``str(error)`` is the sentence for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


def told_whole(error: Exception) -> str:
    """The kind of an error, and what it says: that alone is often no more than the key that is missing."""
    return f"{type(error).__name__}: {error}"


class SettingsError(Exception):
    """Settings that make no sense; the message is one clear line naming the setting."""


class LedgerError(Exception):
    """Base of all refusals. Nothing was recorded when one is raised, but for one case: see StorageUnavailable."""

    code: ClassVar[str]


class InvalidInput(LedgerError):
    """A well-formed request whose meaning is refused; ``errors`` maps a path in the body to its messages."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {path: list(messages) for path, messages in errors.items()}
        super().__init__(" ".join(message for messages in self.errors.values() for message in messages))


class InvalidCart(InvalidInput):
    code = "invalid-cart"


class InvalidArrangement(InvalidInput):
    code = "invalid-arrangement"


class InvalidEndpoint(InvalidInput):
    """A webhook endpoint that nothing is sent to."""

    code = "invalid-endpoint"


class UnknownEndpoint(LedgerError):
    code = "no-such-endpoint"


class UnknownStatus(LedgerError):
    code = "unknown-status"


class UnknownOrder(LedgerError):
    """There is no such order, or the caller may not see it: the two are not told apart."""

    code = "unknown-order"


class MoveNotInTable(LedgerError):
    """The status table has no such move, whoever asks."""

    code = "illegal-move"


class MoveNotAllowed(LedgerError):
    """The status table has the move, but not for this actor."""

    code = "move-not-allowed"


class PaymentNotConfirmed(LedgerError):
    """The payment gateway does not confirm that the order's payment succeeded."""

    code = "payment-not-confirmed"


class UnknownPayment(LedgerError):
    """The payment gateway never had the payment: it is another gateway, or another account, than the order's."""

    code = "unknown-payment"


class RefundRequired(LedgerError):
    """A paid order can be cancelled only when all that was received has been refunded."""

    code = "refund-required"


class RefundRefused(LedgerError):
    """The payment gateway has nothing, or not as much, left to refund."""

    code = "refund-refused"


class Forbidden(LedgerError):
    """Not for this actor, whatever the order's state."""

    code = "forbidden"


class InvalidAmount(InvalidInput):
    code = "invalid-amount"


class PaymentInProgress(LedgerError):
    """An order's payment is under way, and nobody knows yet how it ends."""

    code = "payment-in-progress"


class OrderNotThereYet(LedgerError):
    """A notice of a payment whose order is not in the log: the order's commit may still be under way."""

    code = "order-not-there-yet"


class ForgedNotice(LedgerError):
    """A notice of a payment that the payment gateway has not signed, or signed too long ago."""

    code = "invalid-signature"


class MalformedNotice(LedgerError):
    """A notice of a payment that the payment gateway has signed, but that can't be read."""

    code = "malformed-notice"


class VersionMismatch(LedgerError):
    """The order is no longer at the version that the caller expected."""

    code = "version-mismatch"


class IdempotencyKeyReused(LedgerError):
    """The idempotency key already belongs to a request with another body."""

    code = "idempotency-key-reused"


class Busy(LedgerError):
    """Other writers won every one of a bounded number of attempts; the same request may be sent again."""

    code = "busy"


class AlreadyRunning(Busy):
    """Somebody else does this very job at the moment, and there is to be one at a time."""


class StorageUnavailable(LedgerError):
    """The database can't be reached or is overloaded; the same request may be sent again.

    When the connection breaks during a commit, and the database does not come back to say how it ended, the events may
    have been recorded. A repeat with the same idempotency key finds out.
    """

    code = "storage-unavailable"


class UnreadableEvent(LedgerError):
    """The log holds an event that is not what its type says, or lacks one: it was changed, or is of a later release."""

    code = "unreadable-event"


class PaymentsUnavailable(LedgerError):
    """The payment gateway can't be reached; the same request may be sent again."""

    code = "payments-unavailable"


class MalformedProof(LedgerError):
    """A key, note, checkpoint, tile or proof that is not of its format."""


class NotProven(LedgerError):
    """A signature or proof that is of its format, and does not show what it should."""


class NotRestorable(LedgerError):
    """A log can't be imported: the ledger is not empty, or what is to be imported is not a whole log."""
