"""A hash of a set that is kept up as members come and go, whatever their order: LtHash, a sum of hashes.

Each member is stretched by SHAKE128 to 1,024 numbers of 16 bits, little-endian; a set's sums are those of its members,
number by number, modulo 2^16. To find another set with the same sums is as hard as finding short vectors in a lattice:
Lewi, Kim, Maykov, Weis, "Securing Update Propagation with Homomorphic Hashing" (https://eprint.iacr.org/2019/227).
"""

from __future__ import annotations

from hashlib import sha256, shake_128

from ledger.errors import MalformedProof

NUMBERS = 1024
SUMS_SIZE = 2 * NUMBERS

# Python adds all the numbers in one go, as two integers: in each 32 bits of them is one number, and room for carries.
_EVERY = int.from_bytes(b"\1\0\0\0" * (NUMBERS // 2), "little")
_MASK = 0xFFFF * _EVERY
_MODULUS = 0x10000 * _EVERY
_ROOM = 60_000  # additions until a carry would reach the next number


class LtHash:
    """The sums of a set of members, which are bytes. What is taken away must have been there: nothing checks it."""

    def __init__(self, sums: bytes = bytes(SUMS_SIZE)) -> None:
        if len(sums) != SUMS_SIZE:
            raise MalformedProof(f"The sums of a set are {SUMS_SIZE} bytes.")
        self._even, self._odd = _halves(sums)
        self._room = _ROOM

    def add(self, member: bytes) -> None:
        """Adds a member."""
        even, odd = _halves(shake_128(member).digest(SUMS_SIZE))
        self._even += even
        self._odd += odd
        self._carry()

    def remove(self, member: bytes) -> None:
        """Takes a member away."""
        even, odd = _halves(shake_128(member).digest(SUMS_SIZE))
        self._even += _MODULUS - even
        self._odd += _MODULUS - odd
        self._carry()

    @property
    def sums(self) -> bytes:
        """The sums, by which the set is taken up again."""
        whole = self._even & _MASK | (self._odd & _MASK) << 16
        return whole.to_bytes(SUMS_SIZE, "little")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the sums: what two who have the same set have in common."""
        return sha256(self.sums).digest()

    def _carry(self) -> None:
        self._room -= 1
        if not self._room:
            self._even &= _MASK
            self._odd &= _MASK
            self._room = _ROOM


def _halves(numbers: bytes) -> tuple[int, int]:
    whole = int.from_bytes(numbers, "little")
    return whole & _MASK, whole >> 16 & _MASK
