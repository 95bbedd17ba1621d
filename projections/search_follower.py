"""The follower that keeps the view of the search: it takes the log in by order of position, batch by batch.

Each step is one transaction that holds the view's row of ``followed``: rows, counts and position change together or not
at all. Of several followers one works at a time, and the others leave it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ledger.errors import NotProven
from ledger.storage import Cursor, Database
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.storage.tables import Row, marks
from projections.bodies import facts_of
from projections.fold import Rows
from projections.poison import UNFOLDABLE, PoisonEvent, sifted
from projections.searchable import BEGIN_AGAIN, EMPTYING, PERIODS, SEARCHABLE, VIEW, Tally, positions, tally_of
from projections.watcher import NOBODY, Progress, Watcher

BATCH = 2000
"""Events of one step: some ten milliseconds on SQLite, where appends wait for it meanwhile."""

_AT_ONCE = 500
_PAUSE = 0.1
_PLACES = {column: place for place, column in enumerate(SEARCHABLE.columns)}
_LOCK = f"SELECT position FROM followed WHERE name = '{SEARCHABLE.name}'"
_MOVE = f"UPDATE followed SET position = ? WHERE name = '{SEARCHABLE.name}'"
_NEXT = f"SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?"
_SOME = f"SELECT order_id FROM {SEARCHABLE.name} ORDER BY order_id LIMIT ?"
_COUNT = (
    f"{PERIODS.insert_sql()} ON CONFLICT (width, starts, status) DO UPDATE SET"
    f" orders = {PERIODS.name}.orders + excluded.orders, amount = {PERIODS.name}.amount + excluded.amount"
)
_CLEAR = f"DELETE FROM {PERIODS.name} WHERE width = ? AND starts = ? AND status = ? AND orders = 0"


def begin_again(database: Database) -> None:
    """Lets the followers make the view again from the log. Raises StorageUnavailable."""
    with database.transaction() as cursor:
        cursor.execute(BEGIN_AGAIN)


def rebuild_search(database: Database, watcher: Watcher = NOBODY) -> Progress:
    """Makes the view again, up to where the log ends now, whoever else follows; meanwhile the search looks through the
    orders themselves. What is left undone when this is interrupted, the followers do.

    Raises what ``SearchFollower.step`` raises.
    """
    begin_again(database)
    follower = SearchFollower(database)
    with database.read() as cursor:
        _, head = positions(cursor)
    done = EMPTYING
    while done < head:
        if not follower.step():
            watcher.sleep(_PAUSE)  # for another one, that is at it
        with database.read() as cursor:
            done, _ = positions(cursor)
        watcher.tell(Progress(VIEW.name, "copying" if done < head else "done", max(done, 0), head, 0))
    return Progress(VIEW.name, "done", done, head, 0)


class SearchFollower:
    """Keeps the view. ``reached`` is told what has been done, so that tests can end the process there."""

    def __init__(
        self, database: Database, *, batch: int = BATCH, reached: Callable[[str], None] = lambda _: None
    ) -> None:
        self._database = database
        self._batch = batch
        self._reached = reached

    def step(self) -> bool:
        """Takes in one batch; answers whether there may be more to take in at once.

        Raises StorageUnavailable; NotProven when the log ends before what was taken in, or lacks a position;
        PoisonEvent for an event that can't be taken in.
        """
        with self._database.read() as cursor:
            position, head = positions(cursor)
        if position == head:
            return False
        if position > head:
            raise NotProven(f"The log ends at {head}, and {position} events were in it.")
        events: list[RecordedEvent] = []
        try:
            with self._database.transaction() as cursor:
                more = self._advanced(cursor, events)
            self._reached("committed")
        except UNFOLDABLE as error:
            with self._database.snapshot() as cursor:
                _, poison = sifted(cursor, VIEW, SEARCHABLE, [each for each in events if each.type in VIEW.handlers])
            if not poison:
                raise
            raise PoisonEvent(VIEW, poison[0]) from error
        return more

    def _advanced(self, cursor: Cursor, events: list[RecordedEvent]) -> bool:
        """One step, in its transaction; ``events`` are those that it tries to take in."""
        skip = " FOR UPDATE SKIP LOCKED" if self._database.dialect == "postgres" else ""
        locked = cursor.execute(f"{_LOCK}{skip}")
        if not locked:
            return False  # another follower is at it
        position = int(locked[0][0])
        self._reached("locked")
        if position < 0:
            return self._emptied(cursor)
        events.extend(RecordedEvent(*row) for row in cursor.execute(_NEXT, (position, self._batch)))
        if not events:
            return False  # another follower has taken them in
        for expected, event in enumerate(events, position + 1):
            if event.position != expected:
                raise NotProven(f"Position {expected} is missing from the log.")
        self._take_in(cursor, events)
        cursor.execute(_MOVE, (position + len(events),))
        self._reached("moved")
        return len(events) == self._batch

    def _emptied(self, cursor: Cursor) -> bool:
        """Deletes some of the former rows; begins from the start once none is left."""
        cursor.execute(f"DELETE FROM {SEARCHABLE.name} WHERE order_id IN ({_SOME})", (self._batch,))
        if not cursor.execute(_SOME, (1,)):
            cursor.execute(f"DELETE FROM {PERIODS.name}")
            cursor.execute(_MOVE, (0,))
        self._reached("emptied")
        return True

    def _take_in(self, cursor: Cursor, events: Sequence[RecordedEvent]) -> None:
        rows = Rows(VIEW)
        rows.add(facts_of(event) for event in events if event.type in VIEW.handlers)
        former = list(_rows_of(cursor, [order_id for (order_id,) in rows.updated]))
        if len(former) != len(rows.updated):
            raise ValueError("rows are changed that were never made")
        made = [tuple(row) for row in rows.inserted.values()]
        if made:
            cursor.executemany(SEARCHABLE.insert_sql(), made)
        for columns, updates in rows.updates().items():
            cursor.executemany(SEARCHABLE.update_sql(columns), updates)
        self._reached("written")
        changed = [_changed(row, rows.updated[row[:1]]) for row in former]
        _count(cursor, tally_of(former, [*changed, *made]))
        self._reached("counted")


def _rows_of(cursor: Cursor, order_ids: Sequence[int]) -> Iterator[Row]:
    for start in range(0, len(order_ids), _AT_ONCE):
        some = order_ids[start : start + _AT_ONCE]
        query = f"SELECT {', '.join(SEARCHABLE.columns)} FROM {SEARCHABLE.name} WHERE order_id IN ({marks(some)})"
        yield from map(tuple, cursor.execute(query, some))


def _changed(row: Row, values: dict[str, object]) -> Row:
    changed = list(row)
    for column, value in values.items():
        changed[_PLACES[column]] = value
    return tuple(changed)


def _count(cursor: Cursor, tally: Tally) -> None:
    if tally:
        cursor.executemany(_COUNT, [(*key, *counted) for key, counted in sorted(tally.items())])
    fewer = [key for key, (orders, _) in tally.items() if orders < 0]
    if fewer:
        cursor.executemany(_CLEAR, fewer)
