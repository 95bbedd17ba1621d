"""What must be so of every log, whatever its events mean: places without gaps, and a tree over all of them."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.storage.log import RecordedEvent
from ledger.transparency.leaf import event_leaf
from ledger.transparency.merkle import CompactRange

_PENDING = 1024


class Chain:
    """Takes the events of a log one by one, and says what is wrong with their places.

    ``size`` is how many there were, and ``leaf`` the last one's hash.
    """

    def __init__(self) -> None:
        self.size = 0
        self.leaf = b""
        self._tree = CompactRange()
        self._pending: list[bytes] = []  # hashed many at a time, which takes half as long
        self._position = 0
        self._versions: dict[str, int] = {}

    def add(self, event: RecordedEvent) -> Sequence[str]:
        """What is wrong with this event's place, a sentence each."""
        position, stream, version, type, _ = event
        self.leaf = leaf = event_leaf(event)
        self._pending.append(leaf)
        self.size += 1
        if len(self._pending) == _PENDING:
            self.root()
        expected = self._position + 1, self._versions.get(stream, 0) + 1
        self._position, self._versions[stream] = position, version
        if (position, version) == expected and "\n" not in stream and "\n" not in type:
            return ()
        return list(_faults(event, *expected))

    def root(self) -> bytes:
        """The root of the tree over all events so far, in the order in which they came."""
        self._tree.extend(self._pending)
        self._pending.clear()
        return self._tree.root()


def _faults(event: RecordedEvent, position: int, version: int) -> list[str]:
    at = f"position {event.position}"
    faults = []
    if event.position > position:
        missing = str(position) if event.position == position + 1 else f"{position} to {event.position - 1}"
        faults.append(f"position {missing}: missing; {event.position} follows on {position - 1}")
    if event.position < position:
        faults.append(f"{at}: stands behind position {position - 1}")
    if event.version != version:
        faults.append(f"{at}: version {event.version} of {event.stream}, where version {version} comes next")
    if "\n" in event.stream + event.type:
        faults.append(f"{at}: a line feed in the name of its stream or type")
    return faults
