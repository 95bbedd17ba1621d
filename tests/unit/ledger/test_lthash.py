"""The hash of a set: whatever the order, whatever came and went, and as its definition has it."""

from __future__ import annotations

import struct
from hashlib import sha256, shake_128
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedProof
from ledger.transparency import lthash
from ledger.transparency.lthash import SUMS_SIZE, LtHash

MEMBERS = st.lists(st.binary(max_size=40), max_size=12)


def by_definition(members: list[bytes]) -> bytes:
    sums = [0] * 1024
    for member in members:
        for place, number in enumerate(struct.unpack("<1024H", shake_128(member).digest(2048))):
            sums[place] = (sums[place] + number) % 65536
    return struct.pack("<1024H", *sums)


def hash_of(members: list[bytes]) -> LtHash:
    hashed = LtHash()
    for member in members:
        hashed.add(member)
    return hashed


@given(MEMBERS)
def test_sums_are_as_they_are_defined(members: list[bytes]) -> None:
    assert hash_of(members).sums == by_definition(members)
    assert hash_of(members).digest == sha256(by_definition(members)).digest()


@given(MEMBERS, MEMBERS, st.randoms())
def test_only_what_is_there_in_the_end_counts(kept: list[bytes], gone: list[bytes], random: Random) -> None:
    hashed = hash_of(kept[:1])
    steps = [(LtHash.add, member) for member in [*kept[1:], *gone]]
    random.shuffle(steps)
    for step, member in steps:
        step(hashed, member)
    for member in gone:
        hashed.remove(member)
    assert hashed.sums == hash_of(kept).sums


def test_no_carry_reaches_the_next_number() -> None:
    hashed = LtHash(b"\xff" * SUMS_SIZE)
    for _ in range(70_000):
        hashed.add(b"the same")
    once = struct.unpack("<1024H", shake_128(b"the same").digest(2048))
    assert struct.unpack("<1024H", hashed.sums) == tuple((65535 + 70_000 * number) % 65536 for number in once)


def test_it_goes_on_from_its_sums() -> None:
    hashed = LtHash(hash_of([b"a", b"b"]).sums)
    hashed.remove(b"a")
    assert hashed.digest == hash_of([b"b"]).digest


def test_of_nothing() -> None:
    assert LtHash().digest == sha256(bytes(2048)).digest()
    assert hash_of([b""]).digest != LtHash().digest
    assert lthash.NUMBERS == 1024


@pytest.mark.parametrize("size", [0, SUMS_SIZE - 1, SUMS_SIZE + 1])
def test_what_can_not_be_sums(size: int) -> None:
    with pytest.raises(MalformedProof):
        LtHash(bytes(size))
