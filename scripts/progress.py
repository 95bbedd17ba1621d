"""Progress that tells the truth: how far, how fast of late, how much longer, and when nothing moves."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from projections.watcher import Progress
from scripts.context import Session

Tell = Callable[[Progress], None]

_SECONDS = 3.0
"""Between two lines where there is no terminal."""

_REDRAWN = 0.2

_LATELY = 10.0
"""Seconds that the speed is measured over."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A moment of a rebuild: events a second of late, seconds left at that speed, seconds since anything moved."""

    progress: Progress
    speed: float
    left: float | None
    still: float

    def line(self) -> str:
        """For a person."""
        progress = self.progress
        parts = [f"{progress.view}: {progress.phase}", f"{progress.done:,} of {progress.head:,} events"]
        if self.still >= 1:
            parts.append(f"nothing has moved for {self.still:.0f} s")
        elif self.left is not None:
            parts.append(f"{self.speed:,.0f}/s, {self.left:.0f} s left")
        if progress.skipped:
            parts.append(f"{progress.skipped:,} set aside")
        return ", ".join(parts)

    def record(self) -> dict[str, Any]:
        """For a program; members as documented in docs/operations.md."""
        progress = self.progress
        return {
            "view": progress.view,
            "phase": progress.phase,
            "done": progress.done,
            "head": progress.head,
            "skipped": progress.skipped,
            "eventsPerSecond": round(self.speed),
            "secondsLeft": None if self.left is None else round(self.left, 1),
            "secondsStill": round(self.still, 1),
        }


class Meter:
    """Takes what a rebuild tells, and can be read at any time, from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._told: deque[tuple[float, Progress]] = deque()
        self._moved = monotonic()

    def tell(self, progress: Progress) -> bool:
        """Takes note; returns whether a new phase has begun."""
        now = self._monotonic()
        with self._lock:
            last = self._told[-1][1] if self._told else None
            if last is None or (last.phase, last.done) != (progress.phase, progress.done):
                self._moved = now
            if last is None or last.phase != progress.phase:
                self._told.clear()  # the speed of one phase says nothing about the next
            self._told.append((now, progress))
            while self._told[0][0] < now - _LATELY and len(self._told) > 2:  # noqa: PLR2004  two moments make a speed
                self._told.popleft()
        return last is None or last.phase != progress.phase

    def read(self) -> Reading | None:
        """How it stands now; ``None`` before anything was told."""
        now = self._monotonic()
        with self._lock:
            if not self._told:
                return None
            (since, first), (_, last) = self._told[0], self._told[-1]
            moved = self._moved
        speed = (last.done - first.done) / (now - since) if now > since else 0.0
        left = (last.head - last.done) / speed if speed > 0 else None
        return Reading(last, speed, left, now - moved)


@contextmanager
def heartbeat(meter: Meter, show: Callable[[Reading], None], seconds: float) -> Iterator[None]:
    """Shows the reading every few seconds, whether anything moves or not."""
    ended = Event()

    def beat() -> None:
        while not ended.wait(seconds):
            reading = meter.read()
            if reading is not None:
                show(reading)

    thread = Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def watched(session: Session, *, as_json: bool = False) -> Iterator[Tell]:
    """What a rebuild tells its progress to: a bar on a terminal, lines elsewhere, nothing with ``--quiet``."""
    meter = Meter()
    if as_json:
        with _lines(meter, lambda reading: click.echo(json.dumps(reading.record()))) as tell:
            yield tell
    elif session.quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(meter) as tell:
            yield tell
    else:
        with _lines(meter, lambda reading: session.say(reading.line())) as tell:
            yield tell


@contextmanager
def _lines(meter: Meter, show: Callable[[Reading], None]) -> Iterator[Tell]:
    def tell(progress: Progress) -> None:
        if meter.tell(progress) and (reading := meter.read()) is not None:
            show(reading)

    with heartbeat(meter, show, _SECONDS):
        yield tell


@contextmanager
def _bar(meter: Meter) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)

        def draw(reading: Reading) -> None:
            now = reading.progress
            bar.update(task, description=reading.line(), total=now.head, completed=now.done, visible=True)

        def tell(progress: Progress) -> None:
            meter.tell(progress)

        with heartbeat(meter, draw, _REDRAWN):
            yield tell
