"""The transparency log's tree in the database: its tiles, its state, the checkpoints that were signed and their keys.

``log_tree`` has one row: the tree's size, and its compact range as hashes one after the other. ``log_tiles`` has the
tiles by level and index; the last one of a level is shorter until it is full, and holds those of smaller trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from ledger.errors import MalformedProof
from ledger.storage import Cursor
from ledger.storage.database import Dialect
from ledger.storage.tables import Row
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.merkle import HASH_SIZE, CompactRange, HashReader
from ledger.transparency.notes import Note
from ledger.transparency.tiles import TILE_HEIGHT, TILE_SIZE, TILE_WIDTH, reader_of_tiles, tile_root

_STATE = "SELECT size, hashes FROM log_tree WHERE id = 1"
_LATEST = "SELECT size, note FROM log_checkpoints ORDER BY size DESC LIMIT 1"
_OF_SIZE = "SELECT size, note FROM log_checkpoints WHERE size = ?"
_COSIGNATURES = "SELECT signed_text, line FROM log_cosignatures WHERE size = ? ORDER BY witness"
_COSIGNED = (
    "SELECT size, note FROM log_checkpoints WHERE size ="
    " (SELECT max(size) FROM log_cosignatures WHERE witness = ? OR ? = '')"
)
_PUT_TILE = (
    "INSERT INTO log_tiles (level, tile, hashes) VALUES (?, ?, ?)"
    " ON CONFLICT (level, tile) DO UPDATE SET hashes = excluded.hashes"
)


def read_tree(cursor: Cursor) -> CompactRange:
    """The tree as it is. Raises MalformedProof when its state makes no sense."""
    rows = cursor.execute(_STATE)
    return _compact(*rows[0]) if rows else CompactRange()


def lock_tree(cursor: Cursor, dialect: Dialect) -> CompactRange:
    """As ``read_tree``, and nobody else may change the tree until this transaction ends."""
    cursor.execute("INSERT INTO log_tree (id, size, hashes) VALUES (1, 0, ?) ON CONFLICT (id) DO NOTHING", (b"",))
    return _compact(*cursor.execute(f"{_STATE} FOR UPDATE" if dialect == "postgres" else _STATE)[0])


def append_leaves(cursor: Cursor, tree: CompactRange, leaves: Sequence[bytes]) -> None:
    """Appends leaf hashes to the tree that was locked in this transaction: to ``tree``, tiles and state."""
    hashes, size = b"".join(leaves), tree.size
    for level in range(64):
        if not hashes:
            break
        begin, width = divmod(size, TILE_WIDTH)
        tiles = _split(read_tile(cursor, level, begin)[: width * HASH_SIZE] + hashes)
        cursor.executemany(_PUT_TILE, [(level, index, tile) for index, tile in enumerate(tiles, begin)])
        hashes = b"".join(tile_root(tile) for tile in tiles if len(tile) == TILE_SIZE)
        size >>= TILE_HEIGHT
    tree.extend(leaves)
    cursor.execute("UPDATE log_tree SET size = ?, hashes = ? WHERE id = 1", (tree.size, b"".join(tree.hashes)))


def node_reader(cursor: Cursor) -> HashReader:
    """Answers nodes of the stored tree, each tile read once; for one transaction or snapshot."""
    return reader_of_tiles(lru_cache(maxsize=None)(lambda level, index: read_tile(cursor, level, index)))


def read_tile(cursor: Cursor, level: int, index: int) -> bytes:
    """The hashes of a tile, as many as there are; none for one that is not there."""
    rows = cursor.execute("SELECT hashes FROM log_tiles WHERE level = ? AND tile = ?", (level, index))
    return bytes(rows[0][0]) if rows else b""


def read_leaf(cursor: Cursor, index: int) -> bytes:
    """The hash of the event at position ``index + 1``, as it was logged; none for one that is not in the tree."""
    tile, place = divmod(index, TILE_WIDTH)
    return read_tile(cursor, 0, tile)[place * HASH_SIZE : (place + 1) * HASH_SIZE]


def read_tiles(cursor: Cursor, level: int) -> Iterator[tuple[int, bytes]]:
    """The tiles of a level by index, rising; inside ``snapshot``."""
    yield from cursor.stream("SELECT tile, hashes FROM log_tiles WHERE level = ? ORDER BY tile", (level,))


def latest_note(cursor: Cursor) -> str | None:
    """The latest checkpoint as it was signed, by witnesses too; ``None`` when none was."""
    return _with_cosignatures(cursor, cursor.execute(_LATEST))


def latest_cosigned(cursor: Cursor, witness: str = "") -> str | None:
    """The latest checkpoint that a witness, or the one with this key, has signed, too; ``None`` when none was."""
    return _with_cosignatures(cursor, cursor.execute(_COSIGNED, (witness, witness)))


def checkpoint_of_size(cursor: Cursor, size: int) -> Note | None:
    """The checkpoint of that size, with all its signatures; ``None`` when none was signed. Raises MalformedProof."""
    note = _with_cosignatures(cursor, cursor.execute(_OF_SIZE, (size,)))
    return None if note is None else Note.parse(note.encode())


def latest_checkpoint(cursor: Cursor) -> tuple[Checkpoint, Note] | None:
    """The latest checkpoint and its note. Raises MalformedProof."""
    note = latest_note(cursor)
    if note is None:
        return None
    parsed = Note.parse(note.encode())
    return Checkpoint.parse(parsed.text), parsed


def known_keys(cursor: Cursor) -> list[str]:
    """The verifier keys of all keys that have signed checkpoints, in the order of their first use."""
    return [row[0] for row in cursor.execute("SELECT verifier FROM log_keys ORDER BY first_size, verifier")]


def _with_cosignatures(cursor: Cursor, rows: Sequence[Row]) -> str | None:
    if not rows:
        return None
    size, note = rows[0]
    lines = (line for text, line in cursor.execute(_COSIGNATURES, (size,)) if note.startswith(f"{text}\n"))
    return f"{note}{''.join(lines)}"


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + TILE_SIZE] for at in range(0, len(hashes), TILE_SIZE)]


def _compact(size: int, hashes: bytes) -> CompactRange:
    if type(size) is not int or size < 0 or not isinstance(hashes, bytes):  # SQLite keeps whatever is put there
        raise MalformedProof("The state of the tree is not a size and hashes.")
    return CompactRange(size, [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)])
