"""Compares the live views with a fresh replay, and the log with its own rules, at one moment and beside the writers.

The replay goes into temporary tables and the database compares, so that memory does not depend on how large the ledger
is, and only what differs is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ledger.errors import LedgerError
from ledger.events import EVENT_TYPES
from ledger.storage import Cursor, Database
from ledger.storage.database import ScratchCursor
from projections.compare import Finding, differences_of
from projections.live import LiveViews
from projections.poison import Poison
from projections.replay import INTENTS, PAGE, Replay, Tell, replay
from projections.searchable import PERIODS, SEARCHABLE, counting, positions
from projections.searchable import VIEW as SEARCH
from projections.store import VIEWS
from projections.view import View

_KNOWN_TYPES = frozenset(type.TOPIC for type in EVENT_TYPES)

_GAPS = (
    "SELECT position, before FROM (SELECT position, coalesce(lag(position) OVER (ORDER BY position), 0) AS before"
    " FROM events) AS steps WHERE position <> before + 1 ORDER BY position"
)
_JUMPS = (
    "SELECT stream, version, position, before, earlier FROM (SELECT stream, version, position,"
    " coalesce(lag(version) OVER in_stream, 0) AS before, coalesce(lag(position) OVER in_stream, 0) AS earlier"
    " FROM events WINDOW in_stream AS (PARTITION BY stream ORDER BY version)) AS steps"
    " WHERE version <> before + 1 OR position <= earlier ORDER BY stream, version"
)
_TYPES = "SELECT type, count(*), min(position) FROM events GROUP BY type ORDER BY min(position)"
_AHEAD = (
    "SELECT view_name, role, position, head"
    " FROM rebuilds, (SELECT coalesce(max(position), 0) AS head FROM events) AS log"
    " WHERE position > head ORDER BY view_name, role"
)
_ROLES = {"next": "the table being made", "old": "the former table"}


def _silent(_: int) -> None:
    return


def differences(database: Database, known: Sequence[View] = VIEWS) -> list[str]:
    """What is wrong, a sentence each; empty when the log is sound and every view equals its replay."""
    return [str(finding) for finding in check(database, known)]


def check(
    database: Database,
    known: Sequence[View] = VIEWS,
    *,
    only: str | None = None,
    tell: Tell = _silent,
    page: int = PAGE,
) -> Iterator[Finding]:
    """Looks at all of the ledger, or at one view ``only``, and yields what is not sound as it is found.

    The log is replayed ``page`` events at a time, and everything is of one moment. Raises StorageUnavailable, and
    LedgerError for a view that there is none of.
    """
    with LiveViews(database, known).scratch() as (cursor, live):
        followed, head = positions(cursor)
        views = [*live.views, INTENTS, *([SEARCH] if followed >= 0 else [])]
        if only is None:
            yield from log_faults(cursor)
            if followed > head:
                yield Finding("log", "ahead", f"{SEARCH.name} is at position {followed}, but the log ends at {head}")
        else:
            views = [_named(views, only)]
        for each in replay(cursor, views, tell, page=page, upto={SEARCH.name: followed}):
            yield from map(_poisoned(each.view), each.poison)
            if database.dialect == "postgres":  # which would take the table for a small one
                cursor.execute(f"ANALYZE {each.table.name}")
            yield from differences_of(cursor, each.view.name, each.view.table.name, each.table)
            if each.view is SEARCH:
                yield from _counted_otherwise(cursor, each)


def _counted_otherwise(cursor: ScratchCursor, replayed: Replay) -> Iterator[Finding]:
    """Where the counts by hour and day are not those of the replayed orders."""
    counted = replace(PERIODS, name=f"replayed_{PERIODS.name}")
    cursor.create(counted)
    cursor.execute(f"INSERT INTO {counted.name} {counting(replayed.table.name)}")
    yield from differences_of(cursor, SEARCHABLE.name, PERIODS.name, counted)


def log_faults(cursor: Cursor) -> Iterator[Finding]:
    """What is wrong with the log by itself, and with what is noted of it."""
    for position, before in cursor.stream(_GAPS):
        yield Finding("log", "positions", f"position {before + 1} is missing before {position}")
    for stream, version, position, before, earlier in cursor.stream(_JUMPS):
        if version != before + 1:
            yield Finding("log", "versions", f"{stream} jumps to version {version} at position {position}")
        else:
            yield Finding("log", "order", f"{stream} version {version} at position {position} is before {earlier}")
    for type, count, first in cursor.execute(_TYPES):
        if type not in _KNOWN_TYPES:
            yield Finding("log", "types", f"{count} of the unknown type {type!r}, the first at position {first}")
    for view, role, position, head in cursor.execute(_AHEAD):
        yield Finding("log", "ahead", f"{_ROLES[role]} of {view} is at position {position}, but the log ends at {head}")


def _named(views: Sequence[View], name: str) -> View:
    found = {view.name: view for view in views}
    if name not in found:
        raise LedgerError(f"There is no view {name}; there are {', '.join(found)}.")
    return found[name]


def _poisoned(view: View) -> Callable[[Poison], Finding]:
    def told(poison: Poison) -> Finding:
        return Finding(view.name, "unreadable", f"{poison.event.place} can't be replayed: {poison.error}")

    return told
