"""Whose turn it is to write to a SQLite file, among all processes of this machine.

SQLite lets those who wait for its lock look again every tenth of a second, and whoever has it takes it again in less:
under load a process starves for seconds. Here they stand in line. Locks on two files beside the database end with the
process that holds them. Who writes without asking here, as the sqlite3 shell does, is waited for as ever.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import StorageUnavailable

_LOOK_SECONDS = 0.001
_OWNER_ONLY = 0o600


class WritersQueue:
    """The turns of one process, whose threads are to take turns before. ``timeout`` in seconds bounds the wait."""

    def __init__(
        self,
        path: Path,
        timeout: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._paths = (Path(f"{path}-writers-next.lock"), Path(f"{path}-writers.lock"))
        self._timeout = timeout
        self._monotonic = monotonic
        self._sleep = sleep
        self._files: tuple[int, int] | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The turn to write. Raises StorageUnavailable when it does not come in time."""
        following, writing = self._opened()
        deadline = self._monotonic() + self._timeout
        # Who has just had a turn can't be the next one again while somebody else is.
        self._lock(following, deadline)
        try:
            self._lock(writing, deadline)
        finally:
            fcntl.flock(following, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(writing, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closes the files; they stay where they are, as others may have them."""
        if self._files is not None:
            for descriptor in self._files:
                os.close(descriptor)
        self._files = None

    def _opened(self) -> tuple[int, int]:
        if self._files is None:
            following, writing = self._paths
            try:
                first = os.open(following, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
                self._files = (first, os.open(writing, os.O_RDWR | os.O_CREAT, _OWNER_ONLY))
            except OSError as error:
                raise StorageUnavailable(f"The lock files beside the database can't be made: {error}.") from error
        return self._files

    def _lock(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if self._monotonic() > deadline:
                    raise StorageUnavailable("The database is busy with other writes.") from error
            self._sleep(_LOOK_SECONDS)
