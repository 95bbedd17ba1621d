"""Makes a view again from the log, beside the one that serves, and swaps the two while others read and append.

A new table is filled in batches, each in one transaction with the note of how far it is. It gets its indexes, catches
up with what was appended meanwhile, and takes the place of the live one in a transaction in which nobody appends. Until
that is committed the live view is as it was, and whatever ends the job before, the next one goes on where it stopped.
The former table stays until the next rebuild, and can be swapped back once it has caught up as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ledger.errors import LedgerError
from ledger.storage import Cursor, Database
from ledger.storage.database import Bulk, BulkCursor, StillInUse
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.storage.schema import exists
from projections import shadow as shadows
from projections.attested import ATTESTED_VIEW, forget_attested
from projections.batches import Batch, Batches, batches
from projections.bodies import facts_of
from projections.fold import Rows
from projections.live import live_set
from projections.poison import UNFOLDABLE, PoisonEvent, SetAside, sifted
from projections.shadow import Shadow
from projections.view import View
from projections.watcher import NOBODY, Progress, Watcher

TAIL = 500
"""Events that the swap may still have to take in while nobody else appends: some milliseconds' work."""

_PATIENCE = 0.2
"""Seconds between two attempts to swap: those whom the first one held up are through by then."""


def rebuild(
    database: Database,
    view: View,
    known: Sequence[View],
    *,
    watcher: Watcher = NOBODY,
    set_aside: SetAside | None = None,
    wait: bool = False,
    if_missing: bool = False,
    source: Batches = batches,
) -> Progress:
    """Makes the view, in this definition, from the log and puts it in force. ``known`` are all views' latest ones.

    Raises AlreadyRunning (unless it is to ``wait`` for that), PoisonEvent (unless there is a place to set such events
    aside), StorageUnavailable; then the live view is as it was, and another call goes on from there. With
    ``if_missing`` a view that is there is left alone. ``source`` folds the log: here, or in ``Workers``.
    """
    with database.bulk(_job_name(view), wait=wait) as bulk:
        if if_missing and _is_there(bulk, view, known):
            return Progress(view.name, "done", bulk.head(), bulk.head(), 0)
        watcher.tell(Progress(view.name, "starting", 0, bulk.head(), 0))
        shadow = shadows.resumed(bulk, view) or shadows.begun(bulk, view)
        job = _Job(bulk, view, shadow, known=known, watcher=watcher, set_aside=set_aside)
        try:
            job.copy("copying", bulk.head(), source)
            job.index()
            job.swap()
        except PoisonEvent:
            # Somebody mends the log now, and not only where this was the first to stumble.
            with bulk.batch() as cursor:
                shadows.forget(cursor, view.name, "next")
            raise
    _attest_anew(database, view)
    return job.progress("done")


def roll_back(database: Database, view: View, known: Sequence[View], *, watcher: Watcher = NOBODY) -> Progress:
    """Puts the table back in force that was before the last swap, after it has caught up with the log.

    Raises LedgerError when there is none, or none that this release understands, and what ``rebuild`` raises.
    """
    with database.bulk(_job_name(view)) as bulk:
        with bulk.look() as cursor:
            old = shadows.find(cursor, view.name, "old")
            if old and not exists(cursor, bulk.dialect, old.table_name):
                old = None
        definition = next((each for each in view.definitions() if old and each.version == old.version), None)
        if old is None or definition is None or old.position > bulk.head():
            raise LedgerError(f"There is no former table of {view.name} to go back to.")
        job = _Job(bulk, definition, old, known=known, watcher=watcher)
        job.swap()
    _attest_anew(database, view)
    return job.progress("done")


def _attest_anew(database: Database, view: View) -> None:
    # Whatever was wrong with its rows, and so with what was signed of them, is not any more.
    if view.name == ATTESTED_VIEW:
        forget_attested(database)


def _job_name(view: View) -> str:
    return f"rebuild of {view.name}"


def _is_there(bulk: Bulk, view: View, known: Sequence[View]) -> bool:
    with bulk.look() as cursor:
        live = live_set(cursor, known).definition(view.name)
        return live is not None and exists(cursor, bulk.dialect, live.table.name)


class _NotYet(Exception):
    """What is left to do takes longer than others can be made to wait for it."""


class _Job:
    """One run: ``shadow`` says what the table holds, at any time."""

    def __init__(
        self,
        bulk: Bulk,
        view: View,
        shadow: Shadow,
        *,
        known: Sequence[View],
        watcher: Watcher,
        set_aside: SetAside | None = None,
    ) -> None:
        self._bulk = bulk
        self._view = view
        self._shadow = shadow
        self._known = known
        self._watcher = watcher
        self._set_aside = set_aside
        self._head = bulk.head()
        self._waiting = False  # for somebody to let go of the view

    def progress(self, phase: str) -> Progress:
        """How far it is."""
        return Progress(self._view.name, phase, self._shadow.position, self._head, self._shadow.skipped)

    def copy(self, phase: str, upto: int, source: Batches = batches) -> None:
        """Takes in the log up to a position."""
        self._enter(phase)
        for batch in source(self._bulk, self._view, self._shadow.position, upto):
            self._take_in(batch)
            self._head = max(self._head, self._shadow.position)
            self._enter(phase)

    def index(self) -> None:
        """Gives the table its indexes."""
        self._enter("indexing")
        self._bulk.finish(self._shadow.table(self._view))

    def swap(self) -> None:
        """Puts the table in force as soon as that can be done without others noticing."""
        self._enter("clearing")
        with self._bulk.look() as cursor:
            live = live_set(cursor, self._known).definition(self._view.name) or self._view
            old = shadows.find(cursor, self._view.name, "old")
        if self._shadow.role == "next":
            shadows.discard(self._bulk, old, f"{live.table.name}_old")
        elif f"{live.table.name}_old" != self._shadow.table_name:
            shadows.discard(self._bulk, None, f"{live.table.name}_old")
        while not self._swapped():
            pass

    def _swapped(self) -> bool:
        self._catch_up()
        with self._bulk.look() as cursor:
            live = self._live(cursor)
        self._enter("swapping")
        try:
            with self._bulk.swap(live.table.name if live else None) as cursor:
                self._watcher.at("locked")
                complete = self._take_in_tail(cursor, live)
                self._exchange(cursor, complete, live)
                self._watcher.at("exchanged")
        except StillInUse:
            self._waiting = True
            self._enter("waiting")
            self._watcher.sleep(_PATIENCE)
            return False
        except _NotYet:
            self.copy("catching up", self._bulk.head())
            return False
        self._shadow = complete
        self._head = complete.position
        self._enter("done")
        return True

    def _catch_up(self) -> None:
        self._enter("catching up")
        while (head := self._bulk.head()) - self._shadow.position > TAIL:
            self.copy("catching up", head)

    def _live(self, cursor: Cursor) -> View | None:
        """The definition whose table is to make room; ``None`` when there is no such table."""
        live = live_set(cursor, self._known).definition(self._view.name)
        return live if live and exists(cursor, self._bulk.dialect, live.table.name) else None

    def _take_in(self, batch: Batch) -> None:
        try:
            self._write(batch.fold(), batch.upto)
        except UNFOLDABLE as error:
            events = self._bulk.page(batch.after, batch.upto, sorted(self._view.handlers))
            with self._bulk.look() as cursor:
                good, poison = sifted(cursor, self._view, self._shadow.table(self._view), events)
            if not poison:
                raise LedgerError(f"{self._view.name}: the rows can't be written: {error}") from error
            if self._set_aside is None:
                raise PoisonEvent(self._view, poison[0]) from error
            self._set_aside(poison)
            self._write(self._folded(good), batch.upto, skipped=len(poison))

    def _folded(self, events: Iterable[RecordedEvent]) -> Rows:
        rows = Rows(self._view)
        rows.add(facts_of(event) for event in events)
        return rows

    def _write(self, rows: Rows, end: int, *, skipped: int = 0) -> None:
        after = replace(self._shadow, position=end, skipped=self._shadow.skipped + skipped)
        with self._bulk.batch() as cursor:
            self._store(cursor, rows, after)
            self._watcher.at("writing")
        self._shadow = after

    def _store(self, cursor: BulkCursor, rows: Rows, after: Shadow) -> None:
        table = after.table(self._view)
        if rows.inserted:
            cursor.insert(table, rows.inserted.values())
        for columns, updates in rows.updates().items():
            found = cursor.update(table, columns, updates)
            # The former table is taken as it was, as inline writes take the live one.
            if found != len(updates) and after.role == "next":
                raise ValueError("rows are changed that were never made")
        after.save(cursor)

    def _take_in_tail(self, cursor: BulkCursor, live: View | None) -> Shadow:
        """What was appended since the last look; nobody appends now."""
        after = self._shadow.position
        head = int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])
        types = sorted(self._view.handlers)
        query = f"SELECT {COLUMNS} FROM events WHERE position > ? AND type IN ({', '.join('?' * len(types))})"
        if head - after > TAIL or self._live(cursor) != live:
            raise _NotYet
        complete = replace(self._shadow, position=head)
        try:
            events = cursor.execute(f"{query} ORDER BY position", (after, *types))
            self._store(cursor, self._folded(RecordedEvent(*event) for event in events), complete)
        except UNFOLDABLE as error:
            raise _NotYet from error  # to be looked at with time
        return complete

    def _exchange(self, cursor: BulkCursor, complete: Shadow, live: View | None) -> None:
        """Renames the tables and notes who is who now."""
        source, target = complete.table_name, self._view.table.name
        shadows.forget(cursor, self._view.name, complete.role)
        if live is not None:
            former = f"{live.table.name}_old"
            if former == source:
                source = f"{target}_swap"
                self._bulk.rename(cursor, former, source)
            self._bulk.rename(cursor, live.table.name, former)
            Shadow(self._view.name, "old", former, live.version, complete.position, 0).save(cursor)
        self._bulk.rename(cursor, source, target)
        shadows.put_in_force(cursor, self._view)

    def _enter(self, phase: str) -> None:
        # Between attempts to swap it looks at the log, and all that while it waits.
        still = self._waiting and phase in {"catching up", "swapping"}
        self._watcher.tell(self.progress("waiting" if still else phase))
        self._watcher.at(phase)
