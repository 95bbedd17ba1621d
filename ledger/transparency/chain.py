"""What must be so of every log, whatever its events mean: places without gaps, and a tree over all of them."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.storage.log import RecordedEvent
from ledger.transparency.leaf import event_leaf
from ledger.transparency.merkle import CompactRange


class Chain:
    """Takes the events of a log one by one, and says what is wrong with their places.

    ``tree`` is over all events so far, in the order in which they came, and ``leaf`` the last one's hash.
    """

    def __init__(self) -> None:
        self.tree = CompactRange()
        self.leaf = b""
        self._position = 0
        self._versions: dict[str, int] = {}

    def add(self, event: RecordedEvent) -> Sequence[str]:
        """What is wrong with this event's place, a sentence each."""
        position, stream, version, type, _ = event
        self.leaf = event_leaf(event)
        self.tree.extend((self.leaf,))
        expected = self._position + 1, self._versions.get(stream, 0) + 1
        self._position, self._versions[stream] = position, version
        if (position, version) == expected and "\n" not in stream and "\n" not in type:
            return ()
        return list(_faults(event, *expected))


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
