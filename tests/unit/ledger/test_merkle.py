"""Trees and proofs: published vectors, the definitions of RFC 6962 word by word, and another implementation."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency, verify_inclusion

from ledger.errors import MalformedProof, NotProven
from ledger.transparency import merkle
from ledger.transparency.merkle import CompactRange, HashReader, leaf_hash, node_hash

# The leaves, roots and proofs that Certificate Transparency's implementations have been tested with since RFC 6962:
# https://github.com/transparency-dev/merkle (testonly/constants.go, cmd/proofgen/main.go).
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B1 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C1 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
E0 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
D1 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F1 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
G0 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION = [
    (0, 1, []),
    (0, 8, [A1, B1, C1]),
    (5, 8, [E0, D1, ROOTS[4]]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], B1, E0]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [A1, B1, C1]),
    (6, 8, [F1, D1, ROOTS[4]]),
    (2, 5, [B1, E0]),
    (6, 7, [F1, G0, ROOTS[4]]),
]


def reader(leaves: Sequence[bytes]) -> HashReader:
    """Answers complete nodes over these leaf hashes, and refuses others."""

    def read(level: int, index: int) -> bytes:
        covered = leaves[index << level : (index + 1) << level]
        assert len(covered) == 1 << level, "this node is not complete"
        return defined_root(covered)

    return read


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return node_hash(defined_root(leaves[:left]), defined_root(leaves[left:]))


def made_up(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


VECTOR_READER = reader([leaf_hash(leaf) for leaf in LEAVES])


def test_hashes_of_leaves_and_nodes() -> None:
    # https://github.com/transparency-dev/merkle (rfc6962/rfc6962_test.go)
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    compact = CompactRange()
    compact.extend([leaf_hash(leaf) for leaf in LEAVES[:size]])

    assert compact.root().hex() == ROOTS[size]
    assert merkle.tree_root(VECTOR_READER, size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, proof: list[str]) -> None:
    made = merkle.inclusion_proof(VECTOR_READER, index, size)

    assert [each.hex() for each in made] == proof
    merkle.verify_inclusion(leaf_hash(LEAVES[index]), index, size, made, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, proof: list[str]) -> None:
    made = merkle.consistency_proof(VECTOR_READER, old, new)

    assert [each.hex() for each in made] == proof
    merkle.verify_consistency(old, new, made, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))


def test_every_proof_of_every_small_tree_verifies_and_is_of_no_other() -> None:
    leaves = made_up(34)
    read = reader(leaves)
    for size in range(1, len(leaves) + 1):
        root = defined_root(leaves[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(read, index, size)
            merkle.verify_inclusion(leaves[index], index, size, proof, root)
            for other in {index - 1, index + 1, size} - {index}:
                assert not proves_inclusion(leaves[index], other, size, proof, root)
            for forged in (proof[:-1], [*proof, root], [root, *proof], proof[1:]):
                assert forged == proof or not proves_inclusion(leaves[index], index, size, forged, root)
        for old in range(size + 1):
            older, proof = defined_root(leaves[:old]), merkle.consistency_proof(read, old, size)
            merkle.verify_consistency(old, size, proof, older, root)
            for forged in (proof[:-1], [*proof, root], [root, *proof], proof[1:]):
                assert forged == proof or not proves_consistency(old, size, forged, older, root)
            assert not proves_consistency(old, size, proof, leaf_hash(b"other"), root)
            assert old == 0 or not proves_consistency(old, size, proof, older, leaf_hash(b"other"))


def proves_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    try:
        merkle.verify_inclusion(leaf, index, size, proof, root)
    except NotProven:
        return False
    return True


def proves_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    try:
        merkle.verify_consistency(old, new, proof, old_root, new_root)
    except NotProven:
        return False
    return True


@given(data=st.data(), size=st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_another_implementation_agrees(data: st.DataObject, size: int) -> None:
    """https://github.com/fmerg/pymerkle, whose indices count from 1, and whose paths begin with the leaf."""
    theirs = InmemoryTree(algorithm="sha256")
    theirs.append_entries([b"%d" % number for number in range(size)])
    leaves = made_up(size)
    read, root = reader(leaves), theirs.get_root()
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    their_inclusion, their_consistency = theirs.prove_inclusion(index + 1, size), theirs.prove_consistency(old, size)

    verify_inclusion(leaves[index], root, their_inclusion)
    verify_consistency(theirs.get_root(old), root, their_consistency)
    assert merkle.tree_root(read, size) == root
    assert merkle.inclusion_proof(read, index, size) == their_inclusion.path[1:]
    assert proves_inclusion(leaves[index], index, size, their_inclusion.path[1:], root)
    assert proves_consistency(old, size, merkle.consistency_proof(read, old, size), theirs.get_root(old), root)


def test_a_tree_grows_from_its_compact_range_as_from_its_beginning() -> None:
    leaves, rng = made_up(600), random.Random(6)
    at, compact = 0, CompactRange()
    while at < len(leaves):
        step = rng.randint(1, 40)
        compact = CompactRange(compact.size, compact.hashes)
        compact.extend(leaves[at : at + step])
        at = min(at + step, len(leaves))
        assert compact.root() == defined_root(leaves[:at])


@pytest.mark.parametrize(("size", "hashes"), [(1, []), (2, [b"x" * 32] * 2), (1, [b"x"]), (0, [b"x" * 32])])
def test_a_compact_range_has_the_hashes_of_its_size(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(MalformedProof, match="no tree of"):
        CompactRange(size, hashes)


@pytest.mark.parametrize(("index", "size"), [(1, 1), (0, 0), (-1, 3)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        merkle.inclusion_proof(VECTOR_READER, index, size)
    with pytest.raises(NotProven):
        merkle.verify_inclusion(leaf_hash(b""), index, size, [], leaf_hash(b""))


def test_a_tree_is_consistent_with_no_longer_one() -> None:
    with pytest.raises(ValueError, match="no tree of 3"):
        merkle.consistency_proof(VECTOR_READER, 3, 2)
    with pytest.raises(NotProven):
        merkle.verify_consistency(3, 2, [], bytes.fromhex(ROOTS[3]), bytes.fromhex(ROOTS[2]))
    with pytest.raises(NotProven):
        merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, leaf_hash(b""))
