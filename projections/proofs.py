"""What the transparency log serves: its checkpoint, its tiles and entries, and proofs made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.actor import Actor
from ledger.order import order_stream
from ledger.storage import Cursor, Database
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.leaf import leaf_data
from ledger.transparency.merkle import HASH_SIZE, consistency_proof, inclusion_proof
from ledger.transparency.notes import Note
from ledger.transparency.proofs import LogProof
from ledger.transparency.tiles import TILE_WIDTH, Tile, encode_bundle
from projections.bodies import owner_of
from projections.tree import latest_note, node_reader, read_tile, read_tree

_EVENTS = f"SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? ORDER BY position"
_STREAM = f"SELECT {COLUMNS} FROM events WHERE stream = ? ORDER BY version"


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """An event's place, its leaf data, and the text of its proof; ``None`` while no checkpoint has it."""

    position: int
    version: int
    leaf: bytes
    proof: str | None


@dataclass(frozen=True, slots=True)
class Consistency:
    """Shows that the tree of ``new`` leaves begins with that of ``old`` leaves."""

    old: int
    new: int
    hashes: tuple[bytes, ...]


class ProofReads:
    """The queries of the transparency log's endpoints. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def checkpoint(self) -> str | None:
        """The latest checkpoint as it was signed; ``None`` while there is none."""
        with self._database.read() as cursor:
            return latest_note(cursor)

    def tile(self, tile: Tile) -> bytes | None:
        """The hashes of a tile, or the entries of a bundle; ``None`` when the tree does not have them all."""
        with self._database.snapshot() as cursor:
            level, width = tile.level or 0, tile.width * HASH_SIZE
            hashes = read_tile(cursor, level, tile.index)[:width]
            if len(hashes) < width:
                return None
            return hashes if tile.level is not None else _bundle(cursor, tile)

    def of_order(self, order_id: int, reader: Actor) -> list[ProvenEvent] | None:
        """Every event of an order with its proof, oldest first; ``None`` when this reader may see no such order."""
        with self._database.snapshot() as cursor:
            events = [RecordedEvent(*row) for row in cursor.execute(_STREAM, (order_stream(order_id),))]
            if not events or not reader.may_see(owner_of(events[0])):
                return None
            return _all_proven(cursor, events)

    def at(self, position: int) -> list[ProvenEvent] | None:
        """The event at a position with its proof, as the only one; ``None`` when the log does not go so far."""
        with self._database.snapshot() as cursor:
            events = [RecordedEvent(*row) for row in cursor.execute(_EVENTS, (position - 1, position))]
            return _all_proven(cursor, events) if events else None

    def consistency(self, old: int, new: int | None) -> Consistency | None:
        """For the tree of ``new`` leaves (``None``: of the latest checkpoint); ``None`` when there is no such tree."""
        with self._database.snapshot() as cursor:
            rows = cursor.execute("SELECT size FROM log_tree")
            if new is None:
                note = latest_note(cursor)
                new = 0 if note is None else _size(note)
            if not rows or not old <= new <= rows[0][0]:
                return None
            return Consistency(old, new, tuple(consistency_proof(node_reader(cursor), old, new)))


def _bundle(cursor: Cursor, tile: Tile) -> bytes:
    begin = tile.index * TILE_WIDTH
    rows = cursor.execute(_EVENTS, (begin, begin + tile.width))
    return encode_bundle([leaf_data(RecordedEvent(*row)) for row in rows])


def _all_proven(cursor: Cursor, events: Sequence[RecordedEvent]) -> list[ProvenEvent]:
    # A tree that is being made again has not grown to its checkpoint yet.
    note = latest_note(cursor)
    whole = note is not None and read_tree(cursor).size >= _size(note)
    return [_proven(cursor, event, note if whole else None) for event in events]


def _proven(cursor: Cursor, event: RecordedEvent, note: str | None) -> ProvenEvent:
    proof = None
    if note is not None and 0 < event.position <= (size := _size(note)):
        index = event.position - 1
        hashes = inclusion_proof(node_reader(cursor), index, size)
        proof = str(LogProof(index, tuple(hashes), note.encode()))
    return ProvenEvent(event.position, event.version, leaf_data(event), proof)


def _size(note: str) -> int:
    return Checkpoint.parse(Note.parse(note.encode()).text).size
