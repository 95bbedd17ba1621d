"""Which definition of each view is in force: it is in the database, and every process finds out for itself.

A rebuild may put another version of a view in force at any moment, or a view that is new, and rename tables. Whoever
reads or appends with what it knew before is refused by the database, looks again, and tries once more: here for reads,
in the recorder for appends. So a server may start on views that are older than its code, and serves them until a
rebuild has made the new ones; and code that does not know what is in force writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from ledger.errors import StorageUnavailable
from ledger.storage import Cursor, Database
from ledger.storage.database import ScratchCursor, ViewsMoved, with_views_in_force
from ledger.storage.log import Event, NewEvent, Written
from ledger.storage.tables import Row, TableWrites
from projections.bodies import facts_of
from projections.fold import Rows
from projections.view import View

C = TypeVar("C", bound=Cursor)


class UnknownViews(StorageUnavailable):
    """Views are in force that this release does not know."""


@dataclass(frozen=True)
class LiveSet:
    """The definitions in force, and the generation of this set: a number that changes whenever the set does."""

    generation: int
    views: tuple[View, ...]
    _queries: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def tables(self) -> Mapping[str, str]:
        """The table of each view, by the view's name."""
        return {view.name: view.table.name for view in self.views}

    def definition(self, name: str) -> View | None:
        """The definition of a view that is in force; ``None`` when there is none yet."""
        return next((view for view in self.views if view.name == name), None)

    def named(self, query: str) -> str:
        """The query with the names of tables filled in. Raises ViewsMoved for a view that is not."""
        named = self._queries.get(query)
        if named is None:
            try:
                named = self._queries[query] = query.format_map(self.tables)
            except KeyError as error:
                raise ViewsMoved(f"the view {error}, which `order-ledger rebuild` makes") from error
        return named


def live_set(cursor: Cursor, known: Sequence[View]) -> LiveSet:
    """What is in force now. Raises UnknownViews when this code does not know it all."""
    rows = cursor.execute("SELECT generation, name, version FROM view_set LEFT JOIN views ON 1 = 1")
    definitions = {(view.name, view.version): view for latest in known for view in latest.definitions()}
    found = [(name, version) for _, name, version in rows if name is not None]
    if not rows or not definitions.keys() >= set(found):
        raise UnknownViews("The database was made by another release of the ledger; this one does not understand it.")
    order = {view.name: place for place, view in enumerate(known)}
    views = sorted((definitions[each] for each in found), key=lambda view: order[view.name])
    return LiveSet(rows[0][0], tuple(views))


def writes_of(views: Sequence[View], events: Sequence[Event]) -> list[TableWrites]:
    """The rows of these views that the events change, by table. Raises IntegrityError when two make one row."""
    handled = frozenset(type for view in views for type in view.handlers)
    facts = [facts_of(event) for event in events if event.type in handled]
    written = []
    for view in views:
        rows = Rows(view)
        rows.add(fact for fact in facts if fact.type in view.handlers)
        if rows.inserted or rows.updated:
            written.append(rows.writes())
    return written


class LiveViews:
    """The views of one process: what it reads from, and what it writes with its appends (the recorder's InlineViews).

    ``known`` are the latest definitions of this release.
    """

    def __init__(self, database: Database, known: Sequence[View]) -> None:
        self.database = database
        self._known = known
        self._found: LiveSet | None = None

    def now(self) -> LiveSet:
        """What is in force as far as this process knows. Raises StorageUnavailable."""
        found = self._found
        if found is None:
            with self.database.read() as cursor:
                self._found = found = live_set(cursor, self._known)
        return found

    def look_again(self) -> None:
        """Forgets what is in force; it is looked up when it is needed next."""
        self._found = None

    def written(self, events: Sequence[NewEvent]) -> Written:
        """What is to be appended with the events."""
        live = self.now()
        return Written(live.generation, writes_of(live.views, events))

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Runs one query, in which ``{name}`` stands for the table of the view with this name."""

        def run(live: LiveSet) -> list[Row]:
            with self.database.read() as cursor:
                return cursor.execute(live.named(query), parameters)

        return with_views_in_force(lambda: run(self.now()), self.look_again)

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Cursor, LiveSet]]:
        """A snapshot of the database, and what is in force there until it ends."""
        with ExitStack() as stack:
            yield self._entered_in_force(stack, self.database.snapshot)

    @contextmanager
    def scratch(self) -> Iterator[tuple[ScratchCursor, LiveSet]]:
        """The same with temporary tables, see ``Database.scratch``."""
        with ExitStack() as stack:
            yield self._entered_in_force(stack, self.database.scratch)

    def _entered_in_force(
        self, stack: ExitStack, enter: Callable[[Sequence[str]], AbstractContextManager[C]]
    ) -> tuple[C, LiveSet]:
        return with_views_in_force(lambda: self._entered(stack, enter, self.now()), self.look_again)

    def _entered(
        self, stack: ExitStack, enter: Callable[[Sequence[str]], AbstractContextManager[C]], live: LiveSet
    ) -> tuple[C, LiveSet]:
        cursor = stack.enter_context(enter(list(live.tables.values())))
        found = live_set(cursor, self._known)
        if found.generation != live.generation:
            stack.close()
            raise ViewsMoved("other views are in force")
        return cursor, found
