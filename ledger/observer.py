"""What happens inside the ledger that somebody may want to count. Nobody does, unless told."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is told of what has happened, by any thread; must be quick, and raise nothing."""

    def commanded(self, command: str, seconds: float) -> None:
        """A command has ended, well or not; by its name, such as ``create_order``."""

    def appended(self, appends: int, events: int, waiting: int, seconds: float) -> None:
        """A transaction was committed: so many callers' appends and events; how many callers wait now."""

    def conflicted(self) -> None:
        """A command has to decide again, as another one was first."""

    def replayed(self) -> None:
        """A command that came before was answered again."""

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        """The payment gateway was called. ``outcome``: ``answered``, ``refused``, ``failed`` or ``turned away``."""

    def turned(self, *, away: bool) -> None:
        """Whether calls to the payment gateway are turned away from now on."""


class Nobody:
    """Counts nothing."""

    def commanded(self, command: str, seconds: float) -> None:
        """See Observer; likewise below."""

    def appended(self, appends: int, events: int, waiting: int, seconds: float) -> None: ...

    def conflicted(self) -> None: ...

    def replayed(self) -> None: ...

    def called(self, operation: str, outcome: str, seconds: float) -> None: ...

    def turned(self, *, away: bool) -> None: ...


class Observed:
    """Whom to tell: the ledger is put together before it is known who counts."""

    def __init__(self, by: Observer | None = None) -> None:
        self.by: Observer = by or Nobody()
