"""What a view is: tables, and a pure function from an event to the rows it changes.

The same function serves the writes that go with the events (inline), a replay, and the check of one against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.storage.tables import Table

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row, with a value for every column of the table."""

    row: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """New values of some columns of the row with this key."""

    key: Key
    values: Mapping[str, Any]


Change = Insert | Update


@dataclass(frozen=True)
class EventFacts:
    """What a view may look at: the event's stream and version there, its type, and its decoded body.

    Not its position, which is drawn only once the writers' lock is held, when all rows are made already.
    """

    stream: str
    version: int
    type: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """A view by name: what each event type changes, by the type's name; the view ignores all other types.

    ``version`` is raised whenever the table, or what an event changes, is not what it was.
    """

    name: str
    version: int
    table: Table
    handlers: Mapping[str, Callable[[EventFacts], Iterable[Change]]]
