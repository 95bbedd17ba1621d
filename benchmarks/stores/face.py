"""What every event store looks like to the benchmark."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from benchmarks.measure import Operation


class Store(Protocol):
    """An empty event store. ``operation`` is entered in each thread, and appends one order's event per call."""

    name: str

    def operation(self) -> AbstractContextManager[Operation]:
        """What a thread does again and again; connections that are a thread's own live as long as the block."""

    def stored(self) -> int:
        """How many events are in it; the benchmark compares this with what was acknowledged."""

    def close(self) -> None:
        """Closes every connection."""
