"""What a view is: tables, and a pure function from an event to the rows it changes.

The same function serves the writes that go with the events (inline), a rebuild, and the check of one against the other.
These are msgspec structs and not dataclasses because a rebuild makes several of them an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from msgspec import Struct

from ledger.storage.tables import Table

Key = tuple[Any, ...]


class Insert(Struct, frozen=True, gc=False):
    """A new row, with a value for every column of the table."""

    row: tuple[Any, ...]


class Update(Struct, frozen=True, gc=False):
    """New values of some columns of the row with this key."""

    key: Key
    values: Mapping[str, Any]


Change = Insert | Update


class EventFacts(Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """What a view may look at: the event's stream and version there, its type, and its body. See bodies.py.

    Not its position, which is drawn only once the writers' lock is held, when all rows are made already.
    """

    type: ClassVar[str]

    stream: str
    version: int
    body: Any


@dataclass(frozen=True)
class View:
    """A view by name: what each event type changes, by the type's name; the view ignores all other types.

    ``version`` is raised whenever the table, or what an event changes, is not what it was. The new definition names its
    table otherwise, and the former one as ``previous``, which serves until a rebuild has put the new one in force.
    """

    name: str
    version: int
    table: Table
    handlers: Mapping[str, Callable[[EventFacts], Iterable[Change]]]
    previous: View | None = None

    def definitions(self) -> Iterator[View]:
        """This definition and those before it that are still known."""
        yield self
        if self.previous is not None:
            yield from self.previous.definitions()
