"""Processes full of threads that append to one log."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from eventsourcing.persistence import PersistenceError, StoredEvent

from ledger.errors import LedgerError
from ledger.storage import open_database
from ledger.storage.recorder import LogRecorder
from projections.live import LiveViews
from projections.store import VIEWS

BODY = b'{"padding":"' + b"x" * 250 + b'"}'


def append_many(url: str, threads: int, events: int, failures: multiprocessing.Queue[str]) -> None:
    """Appends at least ``events`` events in runs of 1 to 10, by ``threads`` threads; reports what failed."""
    database = open_database(url, pool_size=threads, timeout=30)
    recorder = LogRecorder(database, LiveViews(database, VIEWS))

    def append(thread: int) -> None:
        stream, version = f"w{os.getpid()}-{thread}", 0
        while version * threads < events:
            count = version % 10 + 1
            run = [StoredEvent(stream, version + number, "Unrelated", BODY) for number in range(1, count + 1)]
            try:
                recorder.insert_events(run)
            except (PersistenceError, LedgerError) as error:
                failures.put(repr(error))
                return
            version += count

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(append, range(threads)))
    database.close()


@contextmanager
def writers(url: str, *, processes: int, threads: int, events: int) -> Iterator[WritersAtWork]:
    """Starts the processes; ``events`` is what all of them append together, at the least."""
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    arguments = (url, threads, events // processes, failures)
    started = [context.Process(target=append_many, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    try:
        yield WritersAtWork(started, failures)
    finally:
        for process in started:
            process.terminate()
            process.join()
        failures.close()


class WritersAtWork:
    """The processes while they write."""

    def __init__(
        self, processes: list[multiprocessing.context.SpawnProcess], failures: multiprocessing.Queue[str]
    ) -> None:
        self._processes = processes
        self._failures = failures

    def alive(self) -> bool:
        """Whether any of them still writes."""
        return any(process.is_alive() for process in self._processes)

    def failed(self) -> list[str]:
        """What failed, once all have ended."""
        failed = []
        while not self._failures.empty():
            failed.append(self._failures.get())
        failed.extend(f"exit code {process.exitcode}" for process in self._processes if process.exitcode)
        return failed
