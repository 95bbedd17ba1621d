"""The log as auditors read it: page by page, in order of position, each event with the bytes that are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from msgspec import MsgspecError
from msgspec.json import Decoder

from ledger.storage import Cursor, Database
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.storage.recorder import read_log
from ledger.transparency.lines import encode_line

_LINES = 500
_read_object = Decoder(dict).decode
SCANNED = 10_000
"""Positions that one page looks through at most, so that a filter which matches little costs no more than one that
matches all."""

_USER = "body LIKE ?"
BEGINNING = '{"timestamp":"' + "_" * 27 + '","actor":{"user":'
"""Of every body, as LIKE has it. A query of their JSON would end at one that was written over and is none any more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: of a type, of a stream, caused by a user; ``None``: any."""

    type: str | None = None
    stream: str | None = None
    user: int | None = None


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some events, by position: all that are wanted after position ``after`` up to ``last``. ``head`` is the log's."""

    events: list[RecordedEvent]
    after: int
    last: int
    head: int

    @property
    def ends_the_log(self) -> bool:
        """Whether nothing follows for now."""
        return self.last >= self.head


class LogReads:
    """The queries of the audit endpoints. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database, *, scanned: int = SCANNED) -> None:
        self._database = database
        self._scanned = scanned

    def page(self, after: int, limit: int, wanted: Wanted = ALL) -> LogPage:
        """At most ``limit`` of the events after a position: all of them up to ``last`` that are wanted."""
        with self._database.read() as cursor:
            # First: what is appended meanwhile must not be taken for looked through.
            head = _head(cursor)
            stop = head if wanted.stream is not None else min(head, after + self._scanned)
            rows = cursor.execute(*_query(after, stop, limit, wanted, "ASC"))
        events = [RecordedEvent(*row) for row in rows]
        last = events[-1].position if len(events) == limit else max(after, stop)
        return LogPage(events, after, last, head)

    def page_before(self, before: int | None, limit: int, wanted: Wanted = ALL) -> LogPage:
        """At most ``limit`` of the events before a position, the last of them; ``None``: of all events."""
        with self._database.read() as cursor:
            head = _head(cursor)
            last = head if before is None else min(head, before - 1)
            after = 0 if wanted.stream is not None else max(0, last - self._scanned)
            rows = cursor.execute(*_query(after, last, limit, wanted, "DESC"))
        events = [RecordedEvent(*row) for row in reversed(rows)]
        return LogPage(events, events[0].position - 1 if len(events) == limit else after, last, head)

    def lines(self) -> Iterator[bytes]:
        """The log as an exported file has it, some lines at a time, all of one moment."""
        with self._database.snapshot() as cursor:
            events = read_log(cursor)
            while lines := "".join(map(encode_line, islice(events, _LINES))):
                yield lines.encode()


def _head(cursor: Cursor) -> int:
    return int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])


def _query(
    after: int, last: int, limit: int, wanted: Wanted, direction: Literal["ASC", "DESC"]
) -> tuple[str, list[object]]:
    by_user = None if wanted.user is None else f"{BEGINNING}{wanted.user},%"
    filters: dict[str, object] = {"type = ?": wanted.type, "stream = ?": wanted.stream, _USER: by_user}
    given: dict[str, object] = {"position > ?": after, "position <= ?": last}
    given |= {condition: value for condition, value in filters.items() if value is not None}
    # In a stream versions rise with positions, and its index is by version.
    order = "position" if wanted.stream is None else "version"
    query = f"SELECT {COLUMNS} FROM events WHERE {' AND '.join(given)} ORDER BY {order} {direction} LIMIT ?"
    return query, [*given.values(), limit]


def rendered(event: RecordedEvent) -> str:
    """An event as a JSON object in a line; its body is there as it is stored, to the byte.

    A body that somebody has written over, so that it is no JSON object in a line any more, is there as a string.
    """
    place = {"position": event.position, "stream": event.stream, "version": event.version, "type": event.type}
    body = event.body if _is_object(event.body) else json.dumps(event.body)
    return f'{json.dumps(place, separators=(",", ":"))[:-1]},"body":{body}}}'


def _is_object(body: str) -> bool:
    try:
        _read_object(body)
    except (MsgspecError, RecursionError):
        return False
    return "\n" not in body and "\r" not in body
