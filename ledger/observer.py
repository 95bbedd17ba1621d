"""What happens inside the ledger that somebody may want to know of. Nobody does, unless told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ledger.actor import Actor, Cause
from ledger.errors import Busy, LedgerError, PaymentsUnavailable, StorageUnavailable
from ledger.outcomes import Result

_OUTAGES = (Busy, PaymentsUnavailable, StorageUnavailable)


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its name, such as ``create_order``, who gives it and why; ``order_id`` is of the order that it is to
    change, if any."""

    name: str
    actor: Actor
    cause: Cause
    order_id: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended after so many ``seconds``: with a ``result`` (``None`` when it was no business of the
    ledger's), or with the ``error`` that it raised."""

    command: Command
    seconds: float
    result: Result | None
    error: BaseException | None

    @property
    def order_id(self) -> int | None:
        """The order that it was about; ``None`` when it was about none, or came to none."""
        return getattr(self.result, "order_id", self.command.order_id)

    @property
    def outcome(self) -> str:
        """``recorded``, ``repeated`` (one that came before was answered again), ``unchanged`` (there was nothing to
        record), the code of a LedgerError, or ``failed`` for an error that nobody expected."""
        if self.error is not None:
            return getattr(self.error, "code", "failed")
        if self.result is not None and self.result.position is not None:
            return "recorded"
        return "repeated" if self.result is not None and self.result.replayed else "unchanged"

    @property
    def failed(self) -> bool:
        """Whether it was not the caller's doing that it came to nothing."""
        return self.error is not None and (not isinstance(self.error, LedgerError) or isinstance(self.error, _OUTAGES))


TellEnd: TypeAlias = Callable[[Ended], None]
TellAppended: TypeAlias = Callable[[str], None]
"""Is told what came of an append: ``committed``, ``conflict`` (others were first), or ``failed``."""


class Observer(Protocol):
    """Is told of what has happened, by any thread; must be quick, and raise nothing."""

    def begun(self, command: Command) -> TellEnd:
        """A command begins. Whatever this thread tells until it calls what is returned is a part of it."""

    def appending(self, events: int) -> TellAppended:
        """A caller hands in events, and waits until they are committed, perhaps with those of others."""

    def committed(self, appends: int, events: int, seconds: float) -> None:
        """A transaction was committed: so many callers' appends and events."""

    def conflicted(self) -> None:
        """A command has to decide again, as another one was first."""

    def replayed(self) -> None:
        """A command that came before was answered again."""

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        """The payment gateway was called. ``outcome``: ``answered``, ``refused``, ``failed`` or ``turned away``."""

    def turned(self, *, away: bool) -> None:
        """Whether calls to the payment gateway are turned away from now on."""


class Nobody:
    """Wants to know nothing."""

    def begun(self, command: Command) -> TellEnd:  # noqa: ARG002
        """See Observer; likewise below."""
        return _nothing

    def appending(self, events: int) -> TellAppended:  # noqa: ARG002
        return _nothing

    def committed(self, appends: int, events: int, seconds: float) -> None: ...

    def conflicted(self) -> None: ...

    def replayed(self) -> None: ...

    def called(self, operation: str, outcome: str, seconds: float) -> None: ...

    def turned(self, *, away: bool) -> None: ...


class Relay:
    """An Observer that tells the next one everything, for those that care for some of it."""

    def __init__(self, then: Observer) -> None:
        self._then = then

    def begun(self, command: Command) -> TellEnd:
        """See Observer; likewise below."""
        return self._then.begun(command)

    def appending(self, events: int) -> TellAppended:
        return self._then.appending(events)

    def committed(self, appends: int, events: int, seconds: float) -> None:
        self._then.committed(appends, events, seconds)

    def conflicted(self) -> None:
        self._then.conflicted()

    def replayed(self) -> None:
        self._then.replayed()

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        self._then.called(operation, outcome, seconds)

    def turned(self, *, away: bool) -> None:
        self._then.turned(away=away)


class Observed:
    """Whom to tell: the ledger is put together before it is known who wants to know."""

    def __init__(self, by: Observer | None = None) -> None:
        self.by: Observer = by or Nobody()


def _nothing(_: object) -> None:
    pass
