"""The leaf of an event: what of it is hashed, to the byte."""

from __future__ import annotations

from hashlib import sha256

from ledger.storage.log import RecordedEvent


def leaf_data(event: RecordedEvent) -> bytes:
    """Position, stream, version and type, each on a line of its own, then the stored body.

    Positions are contiguous from 1, so the leaf's index is the position less one. Streams and types hold no line feed,
    so no two events have the same data.
    """
    return f"{event.position}\n{event.stream}\n{event.version}\n{event.type}\n{event.body}".encode()


def event_leaf(event: RecordedEvent) -> bytes:
    """The hash of ``leaf_data`` as a leaf, in one go: every event of the log comes this way."""
    position, stream, version, type, body = event
    return sha256(f"\0{position}\n{stream}\n{version}\n{type}\n{body}".encode()).digest()
