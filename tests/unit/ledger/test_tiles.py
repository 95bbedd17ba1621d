"""Tiles: paths, what a tree consists of, and proofs made from tiles alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import MalformedProof
from ledger.storage.log import RecordedEvent
from ledger.transparency import merkle
from ledger.transparency.leaf import event_leaf, leaf_data
from ledger.transparency.merkle import CompactRange, leaf_hash
from ledger.transparency.tiles import (
    Tile,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
    reader_of_tiles,
    tile_root,
    tiles_of_tree,
)
from tests.support.cli import ROOT


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the example of https://c2sp.org/tlog-tiles
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 17, 1), "tile/1/017.p/1"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
        (Tile(None, 1000), "tile/entries/x001/000"),
        (Tile(None, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/067",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000\n",
        "/tile/0/000",
        "",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(MalformedProof):
        parse_tile_path(path)


def test_the_tiles_of_the_examples_in_the_specification() -> None:
    tiles = list(tiles_of_tree(70_000))

    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [tile for tile in tiles if tile.level == 1 and tile.width == 256] == [Tile(1, 0)]
    assert list(tiles_of_tree(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of_tree(0)) == []


def test_proofs_made_from_tiles_alone() -> None:
    size = 66_000
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    compact = CompactRange()
    compact.extend(leaves)
    tiles: dict[tuple[int, int], bytes] = {}
    for tile in tiles_of_tree(size):
        first = tile.index * 256
        if tile.level == 0:
            hashes = leaves[first : first + tile.width]
        else:
            hashes = [tile_root(tiles[(tile.level or 0) - 1, each]) for each in range(first, first + tile.width)]
        tiles[tile.level or 0, tile.index] = b"".join(hashes)
    read = reader_of_tiles(lambda level, index: tiles[level, index])

    assert merkle.tree_root(read, size) == compact.root()
    for index in (0, 255, 256, 65_535, 65_536, size - 1):
        proof = merkle.inclusion_proof(read, index, size)
        merkle.verify_inclusion(leaves[index], index, size, proof, compact.root())
    for old in (1, 255, 256, 257, 512, 65_535, 65_536, 65_537, size):
        proof = merkle.consistency_proof(read, old, size)
        merkle.verify_consistency(old, size, proof, merkle.tree_root(read, old), compact.root())


def test_a_tile_that_is_too_short_is_noticed() -> None:
    read = reader_of_tiles(lambda _level, _index: b"x" * 64)

    with pytest.raises(MalformedProof, match="96 are needed"):
        read(0, 2)


def test_bundles_keep_entries_of_any_length_up_to_the_greatest() -> None:
    entries = [b"", b"a", b"x" * 65_535]

    assert encode_bundle([b"ab", b"c"]) == b"\0\2ab\0\1c"
    assert decode_bundle(encode_bundle(entries)) == entries
    with pytest.raises(MalformedProof, match="65536 bytes"):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize("data", [b"\0", b"\0\1", b"\0\2a", b"\0\1a\0"])
def test_a_bundle_that_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        decode_bundle(data)


def test_the_leaf_in_the_documentation() -> None:
    body = (Path(__file__).parent / "golden" / "StatusChanged.v1.json").read_text(encoding="utf-8")
    event = RecordedEvent(2, "order-17", 2, "StatusChanged", body)
    documented = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")

    assert f"\n{leaf_data(event).decode()}\n" in documented
    assert f"these {len(leaf_data(event))} bytes" in documented
    assert f"`{event_leaf(event).hex()}`" in documented


def test_the_leaf_of_an_event_to_the_byte() -> None:
    event = RecordedEvent(7, "order-3", 2, "StatusChanged", '{"note":"é"}')

    assert leaf_data(event) == b'7\norder-3\n2\nStatusChanged\n{"note":"\xc3\xa9"}'
    assert event_leaf(event) == leaf_hash(leaf_data(event))
