"""Measuring: threads that do one thing until time is up, and what is said of many such rounds."""

from __future__ import annotations

import statistics
import threading
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import NamedTuple

Say = Callable[[str], None]
"""Takes a line of progress."""

Operation = Callable[[int], int]
"""Does it once, or a batch of it, given a number nobody else is given; returns how many it has done."""


class Summary(NamedTuple):
    """Many rounds' worth of one number."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary | None:
        """The summary; ``None`` of nothing."""
        return cls(statistics.median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Round:
    """What one contestant did in one round; latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float
    done: int


class Numbers:
    """Numbers that are given out once, from 1; safe for threads, as ``next`` of a count is one step."""

    def __init__(self) -> None:
        self._count = count(1)

    def __call__(self) -> int:
        """The next one."""
        return next(self._count)


def percentile(sorted_values: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile of values in rising order."""
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * fraction))]


def run_threads(
    operation: Callable[[], AbstractContextManager[Operation]], *, threads: int, seconds: float, numbers: Numbers
) -> Round:
    """Runs the operation in so many threads for so long. The first error of any thread is raised.

    ``operation`` is entered once in each thread before the clock starts, so that connections are not part of it.
    """
    ready = threading.Barrier(threads + 1)
    workers = [_Worker(operation, ready, seconds, numbers) for _ in range(threads)]
    for worker in workers:
        worker.start()
    with suppress(threading.BrokenBarrierError):
        ready.wait()
    started = perf_counter()
    for worker in workers:
        worker.join()
    errors = [worker.error for worker in workers if worker.error is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    elapsed = max(worker.ended for worker in workers) - started
    latencies = sorted(latency for worker in workers for latency in worker.latencies)
    done = sum(worker.done for worker in workers)
    return Round(done / elapsed, percentile(latencies, 0.5), percentile(latencies, 0.99), done)


class _Worker(threading.Thread):
    def __init__(
        self,
        operation: Callable[[], AbstractContextManager[Operation]],
        ready: threading.Barrier,
        seconds: float,
        numbers: Numbers,
    ) -> None:
        super().__init__(daemon=True)
        self.latencies = array("d")
        self.done = 0
        self.ended = 0.0
        self.error: BaseException | None = None
        self._operation = operation
        self._ready = ready
        self._seconds = seconds
        self._numbers = numbers

    def run(self) -> None:
        """Measures each operation until the time is up."""
        try:
            with self._operation() as operation:
                self._ready.wait()
                self._loop(operation)
        except BaseException as error:  # raised again by who waits for the thread
            self.error = error
            self._ready.abort()

    def _loop(self, operation: Operation) -> None:
        latencies, numbers = self.latencies, self._numbers
        now = perf_counter()
        until = now + self._seconds
        while now < until:
            before = now
            self.done += operation(numbers())
            now = perf_counter()
            latencies.append((now - before) * 1000)
        self.ended = now
