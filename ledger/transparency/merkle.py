"""Merkle trees as RFC 6962 (section 2) defines them, with SHA-256: roots, proofs, and what verifies them.

Hashes are 32 bytes. Levels count from the leaves: the node (level, index) covers the leaves from index * 2**level up to
(index + 1) * 2**level. Verification follows RFC 9162 (sections 2.1.3.2 and 2.1.4.2), whose trees are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from ledger.errors import MalformedProof, NotProven

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

HashReader = Callable[[int, int], bytes]
"""Answers the hash of a complete node by (level, index); never asked for one that is not complete."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


@dataclass(slots=True)
class CompactRange:
    """The tree of the first ``size`` leaves as the roots of its perfect subtrees, the largest first.

    That is one hash for each bit of the size: all that is needed to go on appending. Raises MalformedProof when sizes
    don't fit.
    """

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.hashes) != self.size.bit_count() or any(len(each) != HASH_SIZE for each in self.hashes):
            raise MalformedProof(f"{len(self.hashes)} hashes are no tree of {self.size} leaves.")

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Appends leaves, by their hashes: up to where a subtree of a power of two begins, and that as a whole."""
        at = 0
        while at < len(leaves):
            level = min(_ends_in_zeros(self.size), (len(leaves) - at).bit_length() - 1)
            self._add(perfect_root(leaves[at : at + (1 << level)]), level)
            at += 1 << level

    def _add(self, node: bytes, level: int) -> None:
        rest = self.size >> level
        while rest & 1:
            node = node_hash(self.hashes.pop(), node)
            rest >>= 1
        self.hashes.append(node)
        self.size += 1 << level

    def root(self) -> bytes:
        """The root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        *left, root = self.hashes
        for each in reversed(left):
            root = node_hash(each, root)
        return root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of one level, whose number is a power of two."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [sha256(b"\1" + left + right).digest() for left, right in pairs]
    return hashes[0]


def tree_root(read: HashReader, size: int) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _hash_of(read, 0, size) if size else EMPTY_ROOT


def inclusion_proof(read: HashReader, index: int, size: int) -> list[bytes]:
    """The path from a leaf to the root of the tree of ``size`` leaves, the leaf's sibling first (section 2.1.1).

    Raises ValueError for a leaf that is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _left_size(high - low)
        if index < middle:
            path.append(_hash_of(read, middle, high))
            high = middle
        else:
            path.append(_hash_of(read, low, middle))
            low = middle
    return path[::-1]


def consistency_proof(read: HashReader, old: int, new: int) -> list[bytes]:
    """What shows that the tree of ``new`` leaves begins with the tree of ``old`` leaves (section 2.1.2).

    Empty when either is trivial: no leaves, or as many. Raises ValueError when there are fewer new leaves than old.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no tree of {old} in it")
    if old in {0, new}:
        return []
    low, high, path, whole = 0, new, [], True
    while high != old:
        middle = low + _left_size(high - low)
        if old <= middle:
            path.append(_hash_of(read, middle, high))
            high = middle
        else:
            path.append(_hash_of(read, low, middle))
            low, whole = middle, False
    if not whole:  # else it is the old root, which the verifier has
        path.append(_hash_of(read, low, high))
    return path[::-1]


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that the proof leads to from this leaf hash. Raises NotProven when it can't be a proof of that place."""
    if not 0 <= index < size:
        raise NotProven(f"There is no leaf {index} in a tree of {size} leaves.")
    at, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise NotProven(f"The proof of leaf {index} in {size} is too long.")
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            at, last = _after_left_sibling(at, last)
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise NotProven(f"The proof of leaf {index} in {size} is too short.")
    return node


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises NotProven unless the proof shows that this leaf hash stands there in the tree with this root."""
    if root_of_inclusion(leaf, index, size, proof) != root:
        raise NotProven(f"The proof of leaf {index} in {size} leads to another root.")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises NotProven unless the proof shows that the new tree begins with the old one."""
    if not 0 <= old <= new:
        raise NotProven(f"A tree of {new} leaves can't begin with one of {old}.")
    if old in {0, new}:
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected or (new == 0 and new_root != EMPTY_ROOT):
            raise NotProven(f"The trees of {old} and {new} leaves are not consistent.")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path or _roots_of_consistency(old, new, path) != (old_root, new_root):
        raise NotProven(f"The trees of {old} and {new} leaves are not consistent.")


def _roots_of_consistency(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            at, last = _after_left_sibling(at, last)
        else:
            new_node = node_hash(new_node, sibling)
        at, last = at >> 1, last >> 1
    return None if last else (old_node, new_node)


def _after_left_sibling(at: int, last: int) -> tuple[int, int]:
    """On the right border of the tree a node has no sibling on some levels: they are skipped."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _ends_in_zeros(size: int) -> int:
    return (size & -size).bit_length() - 1 if size else 63


def _left_size(width: int) -> int:
    """How many of ``width`` leaves (two or more) are under the left child: the largest power of two below it."""
    return 1 << ((width - 1).bit_length() - 1)


def _hash_of(read: HashReader, low: int, high: int) -> bytes:
    """The hash of the subtree over these leaves, which begins where a subtree of its size may."""
    width = high - low
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return read(level, low >> level)
    middle = low + _left_size(width)
    return node_hash(_hash_of(read, low, middle), _hash_of(read, middle, high))
