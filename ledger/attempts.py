"""How a command is carried out: decided again when it loses a race, once under one cause, and told of when it ends."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from eventsourcing.persistence import IntegrityError

from ledger.errors import Busy, VersionMismatch
from ledger.observer import Command, Ended, Observed
from ledger.outcomes import Outcome, Result
from ledger.receipts import Receipts, receipt_of

MAX_ATTEMPTS = 10
R = TypeVar("R", bound=Result | None)


class Attempts:
    """Carries out commands. An ``attempt`` reads, decides and appends; nothing of it stays when its append fails."""

    def __init__(self, receipts: Receipts, observed: Observed) -> None:
        self._receipts = receipts
        self._observed = observed

    def once(self, command: Command, attempt: Callable[[], R]) -> R | Outcome:
        """What the attempt returns, or, when its cause has led to something before, the outcome of that.

        Raises IdempotencyKeyReused, Busy, and what the attempt raises.
        """

        def attempt_or_replay() -> R | Outcome:
            replay = self._replay(command)
            if replay is not None:
                return replay
            try:
                return attempt()
            except VersionMismatch:
                # The same cause, given twice at once, may be what has moved the order on meanwhile.
                replay = self._replay(command)
                if replay is None:
                    raise
                return replay

        return self.until_won(command, attempt_or_replay)

    def _replay(self, command: Command) -> Outcome | None:
        receipt = receipt_of(self._receipts, command.actor, command.cause)
        if receipt is None:
            return None
        self._observed.by.replayed()
        return Outcome(receipt.order_id, receipt.version, receipt.status, replayed=True)

    def until_won(self, command: Command, attempt: Callable[[], R]) -> R:
        """What the attempt returns. Raises Busy, and what the attempt raises."""
        began, tell_end = perf_counter(), self._observed.by.begun(command)
        result, error = None, None
        try:
            result = self._won(attempt)
            return result
        except BaseException as raised:
            error = raised
            raise
        finally:
            tell_end(Ended(command, perf_counter() - began, result, error))

    def _won(self, attempt: Callable[[], R]) -> R:
        """Decides again whenever another writer was first: an IntegrityError means that the ground has moved."""
        for _ in range(MAX_ATTEMPTS):
            try:
                return attempt()
            except IntegrityError:
                self._observed.by.conflicted()
        raise Busy("Too many others are writing here; send the request again.")
