"""The leaf of an event: what of it is hashed, to the byte."""

from __future__ import annotations

from ledger.storage.log import RecordedEvent
from ledger.transparency.merkle import leaf_hash


def leaf_data(event: RecordedEvent) -> bytes:
    """Position, stream, version and type, each on a line of its own, then the stored body.

    Positions are contiguous from 1, so the leaf's index is the position less one. Streams and types hold no line feed,
    so no two events have the same data.
    """
    return f"{event.position}\n{event.stream}\n{event.version}\n{event.type}\n{event.body}".encode()


def event_leaf(event: RecordedEvent) -> bytes:
    """The event's leaf hash."""
    return leaf_hash(leaf_data(event))
