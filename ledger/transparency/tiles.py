"""Tiles: how a log's tree and entries are stored and served (https://c2sp.org/tlog-tiles).

A tile holds up to 256 consecutive hashes of every eighth level: 256 leaf hashes at tile level 0, and one for each full
tile of the level below at the next. What is between is computed. An entry bundle holds the entries of a tile of
level 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import MalformedProof
from ledger.transparency.merkle import HASH_SIZE, HashReader, perfect_root

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_SIZE = TILE_WIDTH * HASH_SIZE
MAX_LEVEL = 63
MAX_ENTRY = 0xFFFF
"""Bytes of an entry that a bundle can hold: its length is two bytes."""

TileReader = Callable[[int, int], bytes]
"""Answers the hashes of a tile by (level, index), all that there are, one after the other."""

_PATH = re.compile(r"tile/(0|[1-9]\d?|entries)/((?:x\d{3}/){0,5}\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII)
_DIGITS = 3
_ENTRIES = "entries"


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile by its place; ``level`` is ``None`` for an entry bundle. ``width`` 256 is a full one."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's prefix, such as ``tile/0/x001/x234/067.p/8``."""
        level = _ENTRIES if self.level is None else str(self.level)
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // _DIGITS) * _DIGITS)
        *parents, last = [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return "/".join(["tile", level, *(f"x{each}" for each in parents), f"{last}{partial}"])


def parse_tile_path(path: str) -> Tile:
    """The tile that a path names. Raises MalformedProof for one that is not written as ``Tile.path`` writes it."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise MalformedProof(f"{path[:100]!r} is not the path of a tile.")
    level = None if found[1] == _ENTRIES else int(found[1])
    index = int(found[2].replace("/", "").replace("x", ""))
    tile = Tile(level, index, int(found[3] or TILE_WIDTH))
    if tile.path != path or tile.width > TILE_WIDTH or (level or 0) > MAX_LEVEL:
        raise MalformedProof(f"{path[:100]!r} is not the path of a tile.")
    return tile


def tiles_of_tree(size: int) -> Iterator[Tile]:
    """All tiles of the tree of ``size`` leaves, from the leaves up."""
    for level in range(MAX_LEVEL + 1):
        hashes = size >> (TILE_HEIGHT * level)
        if hashes == 0:
            return
        full, rest = divmod(hashes, TILE_WIDTH)
        yield from (Tile(level, index) for index in range(full))
        if rest:
            yield Tile(level, full, rest)


def tile_root(data: bytes) -> bytes:
    """The root over the hashes of a tile, or of an aligned part of one, whose number is a power of two."""
    return perfect_root([data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)])


def reader_of_tiles(read: TileReader) -> HashReader:
    """Answers nodes from tiles. Raises MalformedProof when a tile has not as many hashes as the node needs."""

    def hash_at(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, place = divmod(index << height, TILE_WIDTH)
        begin, end = place * HASH_SIZE, (place + (1 << height)) * HASH_SIZE
        data = read(tile_level, tile)
        if len(data) < end:
            raise MalformedProof(f"Tile {tile} of level {tile_level} has {len(data)} bytes; {end} are needed.")
        return tile_root(data[begin:end])

    return hash_at


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The entry bundle of up to 256 entries: each behind its length as two bytes, big-endian.

    Raises MalformedProof for an entry longer than 65,535 bytes: the format has no place for it (docs/audit.md).
    """
    longest = max(map(len, entries), default=0)
    if longest > MAX_ENTRY:
        raise MalformedProof(f"An entry of {longest} bytes does not fit into a bundle, which takes {MAX_ENTRY}.")
    return b"".join(part for entry in entries for part in (len(entry).to_bytes(2, "big"), entry))


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises MalformedProof when its end cuts one off."""
    entries, at = [], 0
    while at < len(data):
        begin = at + 2
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data) or begin > len(data):
            raise MalformedProof("The entry bundle is cut off.")
        entries.append(data[begin:at])
    return entries
