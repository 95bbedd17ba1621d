"""Group commit: appends that wait at the same time share one transaction, and so one lock, one insert and one fsync.

There is no thread for it. The first caller who finds nobody writing leads: it takes all that wait, writes them as one
batch, and hands the lead to one of those who came meanwhile. A caller alone writes at once, as if this were not here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from ledger.errors import StorageUnavailable

MAX_BATCH = 256
"""Appends of one transaction: enough to make the fsync small change, few enough to keep the lock for milliseconds."""

MAX_WAITING = 2048
"""Appends that may wait. Beyond it callers are told to come back, so that memory is bounded. A server's workers have
fewer threads than that, and are bounded by them; this is for programs with more."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def _held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    sleeping: Lock = field(default_factory=_held)  # released once: to lead, or when it has an outcome
    leads: bool = False
    result: Result | None = None  # stays None when the leader's thread is torn down in the middle
    error: Exception | None = None

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise StorageUnavailable("The write was interrupted; whether it took place is not known.")
        return self.result


class GroupCommit(Generic[Item, Result]):
    """Coalesces concurrent writes. ``write`` writes a batch in one transaction, all or nothing, in order."""

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._write = write
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._lock = Lock()
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._led = False

    def submit(self, item: Item) -> Result:
        """Writes one item, perhaps with others, and returns its result once it is committed.

        Raises what writing it alone raises; StorageUnavailable when too many wait already.
        """
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            if len(self._waiting) >= self._max_waiting:
                raise StorageUnavailable("Too many writes are waiting; send the request again in a moment.")
            self._waiting.append(mine)
            if not self._led:
                self._led = mine.leads = True
        if not mine.leads:
            mine.sleeping.acquire()
        if mine.leads:
            self._lead()
        return mine.outcome()

    def _lead(self) -> None:
        """Writes one batch, which the leader's own item is the first of, and passes the lead on."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
        try:
            self._write_batch(batch)
        finally:
            self._pass_on(batch)

    def _write_batch(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            results = self._write([waiting.item for waiting in batch])
        except StorageUnavailable as error:
            for waiting in batch:
                waiting.error = copy(error)  # each is raised in a thread of its own, which adds its traceback
                waiting.error.__cause__ = error
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One caller's conflict is nobody else's: halves until it is alone.
            middle = len(batch) // 2
            self._write_batch(batch[:middle])
            self._write_batch(batch[middle:])
        else:
            for waiting, result in zip(batch, results, strict=True):
                waiting.result = result

    def _pass_on(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        with self._lock:
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].sleeping.release()
            else:
                self._led = False
        for waiting in batch[1:]:  # the first is the one who does this
            waiting.sleeping.release()
