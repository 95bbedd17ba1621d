"""What a view is: tables, and a pure function from an event to the rows it changes.

The same function serves the writes that go with the events (inline), a replay, and the check of one against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ColumnType = Literal["bigint", "text"]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table of a view: columns in order, the primary key's columns first, and further indexes by their columns."""

    name: str
    columns: Mapping[str, ColumnType]
    key_size: int = 1
    indexes: tuple[tuple[str, ...], ...] = ()

    def ddl(self) -> list[str]:
        """The statements that create the table and its indexes where they are missing."""
        columns = ", ".join(f"{name} {type} NOT NULL" for name, type in self.columns.items())
        key = ", ".join(list(self.columns)[: self.key_size])
        indexes = [
            f"CREATE INDEX IF NOT EXISTS {self.name}_by_{'_'.join(index)} ON {self.name} ({', '.join(index)})"
            for index in self.indexes
        ]
        return [f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}, PRIMARY KEY ({key}))", *indexes]


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
    """What a view may look at: where the event stands, its type, and its decoded body."""

    position: int
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
