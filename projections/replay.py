"""The log folded again into temporary tables, one for each view, by the functions that write the views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from eventsourcing.persistence import IntegrityError

from ledger.storage import Cursor
from ledger.storage.database import ScratchCursor
from ledger.storage.log import PAYMENT_INTENTS, RecordedEvent
from ledger.storage.recorder import read_log
from ledger.storage.tables import Table
from projections.bodies import OrderCreated, facts_of
from projections.fold import Rows
from projections.poison import UNFOLDABLE, Poison, sifted
from projections.view import Change, EventFacts, Insert, View

PAGE = 10_000
"""Events that are folded at a time."""

_BYTES = 16_000_000
"""Characters of bodies that are folded at a time, by and large."""

Tell = Callable[[int], None]
"""Is told how many more events have been replayed."""


def _placed(event: EventFacts) -> tuple[Change]:
    body: OrderCreated = event.body
    return (Insert((body.order_id, body.payment_intent_id, body.amount_in_cents, body.currency)),)


_KNOWN_OF_INTENTS = ("order_id", "intent_id", "amount", "currency")
INTENTS = View(
    PAYMENT_INTENTS.name,
    1,
    Table(PAYMENT_INTENTS.name, {name: PAYMENT_INTENTS.columns[name] for name in _KNOWN_OF_INTENTS}),
    {"OrderCreated": _placed},
)
"""What the log says of the payment intents, which are no view: the client secret is in no event."""


@dataclass
class Replay:
    """A view's replay, up to a position if there is one: where its rows go, and which events could not be taken in."""

    view: View
    upto: int | None = None
    table: Table = field(init=False)
    poison: list[Poison] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = replace(self.view.table, name=f"replayed_{self.view.name}")

    def take_in(self, cursor: ScratchCursor, events: Sequence[RecordedEvent], facts: Sequence[EventFacts]) -> None:
        """Adds what the events change to the table; events that can't be taken in are left out, and remembered.

        ``facts`` are those of the events as far as they can be decoded.
        """
        if self.upto is not None and events and events[-1].position > self.upto:
            events = [event for event in events if event.position <= self.upto]
            facts = facts[: len(events)]
        if len(facts) == len(events):
            try:
                self._write(cursor, facts)
                return
            except UNFOLDABLE:
                pass  # to be looked at one by one
        mine = [event for event in events if event.type in self.view.handlers]
        good, poison = sifted(cursor, self.view, self.table, mine)
        self.poison.extend(poison)
        self._write(cursor, [facts_of(event) for event in good])

    def _write(self, cursor: ScratchCursor, facts: Sequence[EventFacts]) -> None:
        rows = Rows(self.view)
        rows.add(each for each in facts if each.type in self.view.handlers)
        with cursor.attempt():
            if rows.inserted:
                cursor.insert(self.table, rows.inserted.values())
            for columns, updates in rows.updates().items():
                if cursor.update(self.table, columns, updates) != len(updates):
                    raise IntegrityError("rows are changed that were never made")


def replay(
    cursor: ScratchCursor, views: Sequence[View], tell: Tell, *, page: int = PAGE, upto: Mapping[str, int] | None = None
) -> list[Replay]:
    """Replays the log for these views, ``page`` events at a time; for those named in ``upto`` to that position only."""
    replays = [Replay(view, (upto or {}).get(view.name)) for view in views]
    for each in replays:
        cursor.create(each.table)
    handled = frozenset(type for view in views for type in view.handlers)
    for some in _pages(cursor, page):
        events = [event for event in some if event.type in handled]
        facts = _decoded(events)
        for each in replays:
            each.take_in(cursor, events, facts)
        tell(len(some))
    return replays


def _decoded(events: Sequence[RecordedEvent]) -> list[EventFacts]:
    """The facts of the events, as far as the first one that can't be decoded."""
    facts: list[EventFacts] = []
    with suppress(ValueError):
        facts.extend(map(facts_of, events))
    return facts


def _pages(cursor: Cursor, page: int) -> Iterator[list[RecordedEvent]]:
    events: list[RecordedEvent] = []
    size = 0
    for event in read_log(cursor):
        events.append(event)
        size += len(event.body)
        if len(events) == page or size >= _BYTES:
            yield events
            events, size = [], 0
    if events:
        yield events
