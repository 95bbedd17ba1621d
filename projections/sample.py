"""Compares some streams, drawn at random, with the rows that they should have made: for ledgers too big to replay."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ledger.order import order_stream
from ledger.storage import Cursor, Database
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.storage.tables import Row, marks
from projections.compare import Finding, changes
from projections.fold import fold
from projections.live import LiveViews
from projections.poison import UNFOLDABLE
from projections.replay import INTENTS, Tell
from projections.store import VIEWS
from projections.view import Key, View

_LAST_STREAMS = "SELECT stream, version FROM events ORDER BY position DESC LIMIT 3"
_NEWEST_ORDER = "SELECT order_id, version FROM {orders} ORDER BY order_id DESC LIMIT 1"
_LONG = 200
"""Events of a stream that is too long to be replayed whenever somebody asks; few orders have ten."""

_AT_ONCE = 100
_ROUNDS = 20
"""Draws for each stream that is wanted, before a small ledger is taken to have no more of them."""


def check_sample(
    database: Database, count: int, rng: random.Random, known: Sequence[View] = VIEWS, *, tell: Tell
) -> Iterator[Finding]:
    """Looks at ``count`` streams, or at all that are found of fewer; yields what is not sound of them.

    Long streams are drawn more often. Rows that no event has made can't be found by looking at events.
    """
    with LiveViews(database, known).snapshot() as (cursor, live):
        views = [*live.views, INTENTS]
        for streams in _drawn(cursor, count, rng):
            for stream, events in _histories(cursor, streams).items():
                yield from _version_faults(stream, events)
                for view in views:
                    yield from _differences(cursor, view, stream, events)
            tell(len(streams))


def check_newest(database: Database, known: Sequence[View] = VIEWS) -> Iterator[Finding]:
    """Whether the views are where the log ends: a look at its last events, and at the newest order that is served.

    A few queries by key, however large the ledger is, or long a stream. A view is ahead after a failover that has lost
    events.
    """
    with LiveViews(database, known).snapshot() as (cursor, live):
        last = cursor.execute(_LAST_STREAMS)
        streams = dict.fromkeys(stream for stream, version in last if version <= _LONG)
        for stream, events in _histories(cursor, list(streams)).items() if streams else ():
            for view in live.views:
                yield from _differences(cursor, view, stream, events)
        for order_id, version in cursor.execute(live.named(_NEWEST_ORDER)):
            query = "SELECT coalesce(max(version), 0) FROM events WHERE stream = ?"
            [(recorded,)] = cursor.execute(query, (order_stream(order_id),))
            if version > recorded:
                yield Finding(
                    "orders", "ahead", f"order {order_id} is served at version {version}, and the log has {recorded}"
                )


def _drawn(cursor: Cursor, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Different streams, some at a time."""
    head = cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0]
    drawn: set[str] = set()
    for _ in range(_ROUNDS * (1 + count // _AT_ONCE)):
        wanted = min(_AT_ONCE, count - len(drawn))
        if not head or not wanted:
            return
        positions = [rng.randint(1, head) for _ in range(wanted)]
        query = f"SELECT stream FROM events WHERE position IN ({marks(positions)}) ORDER BY position"
        found = dict.fromkeys(row[0] for row in cursor.execute(query, positions))
        streams = [stream for stream in found if stream not in drawn]
        drawn.update(streams)
        if streams:
            yield streams


def _histories(cursor: Cursor, streams: Sequence[str]) -> dict[str, list[RecordedEvent]]:
    query = f"SELECT {COLUMNS} FROM events WHERE stream IN ({marks(streams)}) ORDER BY stream, version"
    histories: dict[str, list[RecordedEvent]] = {stream: [] for stream in streams}
    for row in cursor.execute(query, streams):
        event = RecordedEvent(*row)
        histories[event.stream].append(event)
    return histories


def _version_faults(stream: str, events: Sequence[RecordedEvent]) -> Iterator[Finding]:
    for expected, event in enumerate(events, 1):
        if event.version != expected:
            text = f"{stream} has version {event.version} at position {event.position} in the place of {expected}"
            yield Finding("log", "versions", text)
            return


def _differences(cursor: Cursor, view: View, stream: str, events: Sequence[RecordedEvent]) -> Iterator[Finding]:
    try:
        expected = fold(view, events)
    except UNFOLDABLE as error:
        yield Finding(view.name, "unreadable", f"{stream} can't be replayed: {error}")
        return
    live = _live_rows(cursor, view, list(expected))
    rest = tuple(view.table.columns)[view.table.key_size :]
    for key, row in expected.items():
        if key not in live:
            yield Finding(view.name, "lost", f"row {key} of the replay is missing")
        elif (told := changes(rest, live[key][view.table.key_size :], row[view.table.key_size :])) is not None:
            yield Finding(view.name, "changed", f"row {key}: {told}")


def _live_rows(cursor: Cursor, view: View, keys: Sequence[Key]) -> dict[Key, Row]:
    """The rows with these keys, one query each: a stream makes few of them, and long lists of pairs are not seeked."""
    columns, condition = ", ".join(view.table.columns), " AND ".join(f"{name} = ?" for name in view.table.key)
    query = f"SELECT {columns} FROM {view.table.name} WHERE {condition}"
    return {key: tuple(row) for key in keys for row in cursor.execute(query, key)}
