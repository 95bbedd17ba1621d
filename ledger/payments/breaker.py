"""Keeps a worker's threads free while a service that it calls is down or slow.

Written here because the libraries for it do not fit threads: pybreaker holds its lock while the call is under way, so
that calls happen one at a time; circuitbreaker has no lock, and lets all callers through at once when it tries again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TurnedAway(Exception):
    """A call that was not made; ``str(error)`` says why."""


class Breaker:
    """Makes calls for the threads of one process, as many at a time as there are places.

    After so many failures in a row no call is made for some seconds; then one call probes, and its outcome decides
    whether the others may go on. Who finds no place is turned away at once: to wait would take up the thread, too.
    """

    def __init__(
        self,
        is_failure: Callable[[Exception], bool],
        *,
        places: int,
        failures: int = 5,
        seconds: float = 10,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_failure = is_failure
        self._places = places
        self._limit = failures
        self._seconds = seconds
        self._timer = timer
        self._lock = threading.Lock()
        self._in_flight = 0
        self._failures = 0
        self._resumes_at = -math.inf
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether calls are turned away because those before have failed."""
        return self._failures >= self._limit

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Raises TurnedAway, and does not call it then."""
        probe = self._enter()
        answered = False
        try:
            result = work()
            answered = True
            return result
        except Exception as error:
            answered = not self._is_failure(error)
            raise
        finally:
            self._leave(probe, answered=answered)

    def _enter(self) -> bool:
        """Takes a place, and tells whether this call is the probe."""
        with self._lock:
            probe = self._failures >= self._limit
            if probe and (self._probing or self._timer() < self._resumes_at):
                raise TurnedAway("it has failed several times in a row, and is left alone for a moment")
            if self._in_flight >= self._places:
                raise TurnedAway("too many requests are waiting for it already")
            self._in_flight += 1
            self._probing = probe
            return probe

    def _leave(self, probe: bool, *, answered: bool) -> None:
        with self._lock:
            self._in_flight -= 1
            if probe:
                self._probing = False
            elif self._failures >= self._limit:
                return  # it set out before the others failed, and says nothing about now
            if answered:
                self._failures = 0
                return
            self._failures += 1
            if self._failures >= self._limit:
                self._resumes_at = self._timer() + self._seconds
