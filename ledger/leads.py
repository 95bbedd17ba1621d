"""The lead-status board: every account's four default lead statuses and the order they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ledger.actor import Actor, Cause
from ledger.errors import InvalidArrangement, MoveNotAllowed
from ledger.events import Event, LeadStatusesArranged

LEAD_STATUSES: Mapping[int, str] = MappingProxyType({1: "New", 2: "Contacted", 3: "Qualified", 4: "Lost"})
"""Names of the default lead statuses by id, in their order on a board nobody has touched."""

STREAM_PREFIX = "leads-"


def board_stream(user_id: int) -> str:
    """The name of the stream of a user's board."""
    return f"{STREAM_PREFIX}{user_id}"


@dataclass(frozen=True, slots=True)
class LeadMove:
    """A lead status and its place on the board, 1 being the first."""

    id: int
    place: int


@dataclass
class LeadBoard:
    """One user's board; ``version`` 0 means that nobody has touched it yet."""

    user_id: int
    arrangement: list[int] = field(default_factory=lambda: list(LEAD_STATUSES))
    version: int = 0
    _pending: list[Event] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The board's stream, by which the event store knows it."""
        return board_stream(self.user_id)

    def arrange(self, moves: Sequence[LeadMove], *, actor: Actor, cause: Cause, timestamp: str) -> list[LeadMove]:
        """Moves each named status to its place; the others close up in their present order.

        Returns the named statuses and all whose place changed, by place. Records nothing when no place changes.
        Raises InvalidArrangement (unknown id, place outside 1..n, an id or a place given twice).
        """
        if actor.user != self.user_id:
            raise MoveNotAllowed("Only its owner may arrange a board.")
        _check(moves, len(self.arrangement))
        before = self.arrangement
        after = _placed(before, {move.place: move.id for move in moves})
        if after != before:
            self._record(
                LeadStatusesArranged(
                    originator_id=self.id,
                    originator_version=self.version + 1,
                    timestamp=timestamp,
                    actor=actor.record(),
                    cause=cause.record(),
                    user_id=self.user_id,
                    arrangement=after,
                )
            )
        named = {move.id for move in moves}
        places = zip(after, before, strict=True)
        return [LeadMove(now, place) for place, (now, was) in enumerate(places, 1) if now in named or now != was]

    def collect_events(self) -> Sequence[Event]:
        """Hands over the events that are not stored yet (the event store calls this)."""
        pending, self._pending = self._pending, []
        return pending

    @classmethod
    def project(cls, board: LeadBoard | None, events: Iterable[Event]) -> LeadBoard | None:
        """The board after ``events``, starting from ``board`` (``None``: from nothing)."""
        for event in events:
            if not isinstance(event, LeadStatusesArranged):
                raise TypeError(f"{event.originator_id} has no place for {type(event).__name__}")
            board = board or cls(event.user_id)
            board._apply(event)
        return board

    def _record(self, event: LeadStatusesArranged) -> None:
        self._apply(event)
        self._pending.append(event)

    def _apply(self, event: LeadStatusesArranged) -> None:
        self.arrangement = event.arrangement
        self.version = event.originator_version


def _check(moves: Sequence[LeadMove], places: int) -> None:
    if not 1 <= len(moves) <= places:
        raise InvalidArrangement({"": [f"Name 1 to {places} lead statuses, each once."]})
    errors: dict[str, list[str]] = {}
    for index, move in enumerate(moves):
        if move.id not in LEAD_STATUSES:
            errors[f"{index}.id"] = [f"There is no lead status {move.id}."]
        elif any(other.id == move.id for other in moves[:index]):
            errors[f"{index}.id"] = [f"Lead status {move.id} is named twice."]
        if not 1 <= move.place <= places:
            errors[f"{index}.statusOrder"] = [f"The place must be from 1 to {places}, not {move.place}."]
        elif any(other.place == move.place for other in moves[:index]):
            errors[f"{index}.statusOrder"] = [f"Place {move.place} is given twice."]
    if errors:
        raise InvalidArrangement(errors)


def _placed(before: Sequence[int], wanted: Mapping[int, int]) -> list[int]:
    others = iter([id for id in before if id not in wanted.values()])
    return [wanted[place] if place in wanted else next(others) for place in range(1, len(before) + 1)]
