"""The log as Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from threading import BoundedSemaphore

from flask import Response

from ledger.errors import StorageUnavailable
from ledger.storage.log import RecordedEvent
from projections.log import LogReads, rendered

MEDIA_TYPE = "text/event-stream"
POLL = 0.5
BEAT = 2.0
"""Seconds of silence after which a comment is sent: it keeps proxies from closing it, and soon finds
clients that have gone."""

LASTS = 60.0
"""Seconds after which a stream ends: who reconnects shows a token that is still good, and threads come free."""

_PAGE = 200
_log = logging.getLogger(__name__)


class Places:
    """How many streams of this process may be open at a time; each takes up a thread."""

    def __init__(self, count: int, stopping: Callable[[], bool]) -> None:
        self._free = BoundedSemaphore(count)
        self.stopping = stopping

    def take(self) -> bool:
        """Takes a place, if one is free; whoever got it gives it back by ``release``."""
        return self._free.acquire(blocking=False)

    def release(self) -> None:
        """Gives a place back."""
        self._free.release()


class EventStream:
    """Follows the log by polling it, until the process is ``stopping``; holds one page of it at a time.

    ``named``: each event carries its type as its name, for clients that listen to some; browsers give those whose name
    they were not told of to nobody.
    """

    def __init__(
        self,
        log: LogReads,
        stopping: Callable[[], bool],
        *,
        named: bool = True,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._log = log
        self._stopping = stopping
        self._line = _named_line if named else _line
        self._timer = timer
        self._sleep = sleep

    def lines(self, after: int) -> Iterator[bytes]:
        """Every event after a position, and every one that comes, until the stream's time is over.

        A database that can't be reached ends it, too: the client comes back, and goes on where it was.
        """
        started = beaten = self._timer()
        yield b"retry: 1000\n\n"
        while (now := self._timer()) < started + LASTS and not self._stopping():
            try:
                page = self._log.page(after, _PAGE)
            except StorageUnavailable as error:
                _log.warning("a stream of events ends: %s", error)
                return
            after = page.last
            if page.events:
                beaten = now
                yield "".join(map(self._line, page.events)).encode()
            elif now >= beaten + BEAT:
                beaten = now
                yield b":\n\n"
            if page.ends_the_log:
                self._sleep(POLL)


def stream_answer(log: LogReads, places: Places, after: int, *, named: bool = True) -> Response:
    """The events after a position as an answer; gives its place back when it ends."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    lines = EventStream(log, places.stopping, named=named).lines(after)
    answer = Response(lines, 200, headers, content_type=MEDIA_TYPE)
    answer.call_on_close(places.release)
    return answer


def _line(event: RecordedEvent, name: str = "") -> str:
    return f"id: {event.position}\n{name}data: {rendered(event)}\n\n"


def _named_line(event: RecordedEvent) -> str:
    name = "".join(event.type.splitlines())  # which somebody may have written over as well
    return _line(event, f"event: {name}\n")
