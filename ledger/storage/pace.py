"""How a long job shares a database that has one writer at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Monotonic = Callable[[], float]
Sleep = Callable[[float], None]

_BUSY_FOR = 2.0
"""Seconds after the log has grown during which others are taken to be writing."""

_LONGEST_GAP = 0.15

_SMALLEST, _LARGEST = 200, 50_000


class Pace:
    """How much a transaction may do, and how long to wait before the next one.

    A transaction should hold the lock for ``held`` seconds. Who waits for the lock polls, and needs a ``gap`` of some
    seconds to find it free, and more after it was held for longer. While nobody else writes there is none.
    """

    def __init__(
        self,
        *,
        held: float = 0.03,
        gap: float = 0.025,
        monotonic: Monotonic = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.size = 2_000
        self._held = held
        self._gap = gap
        self._monotonic = monotonic
        self._sleep = sleep
        self._head: int | None = None
        self._moved = self._ended = monotonic() - _BUSY_FOR
        self._took = 0.0

    @property
    def busy(self) -> bool:
        """Whether others write at the moment."""
        return self._monotonic() - self._moved < _BUSY_FOR

    def now(self) -> float:
        """Seconds on the clock that paces are taken by."""
        return self._monotonic()

    def saw(self, head: int) -> None:
        """Notes where the log ends now."""
        if self._head is not None and head != self._head:
            self._moved = self._monotonic()
        self._head = head

    def wait(self) -> None:
        """Leaves the others their turn."""
        # Who has polled in vain for long looks every tenth of a second only.
        gap = max(self._gap, min(2 * self._took, _LONGEST_GAP))
        pause = self._ended + gap - self._monotonic()
        if self.busy and pause > 0:
            self._sleep(pause)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around the time that the lock is held, by which the next transaction is sized."""
        began = self._monotonic()
        yield
        self._ended = self._monotonic()
        self._took = self._ended - began
        factor = self._held / max(self._took, 0.001)
        self.size = round(min(max(self.size * min(max(factor, 0.5), 2.0), _SMALLEST), _LARGEST))
