"""Checkpoints: what a log says of itself at one size, signed (https://c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger.errors import MalformedProof, NotProven
from ledger.transparency.keys import COSIGNATURE, SignerKey, VerifierKey, decode_base64, encode_base64
from ledger.transparency.merkle import EMPTY_ROOT, HASH_SIZE
from ledger.transparency.notes import Note

_MAX_SIZE = 2**63 - 1
_LINES = 3
_number = re.compile("0|[1-9][0-9]{0,18}").fullmatch


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's ``origin``, and its root at a size; ``extensions`` are further lines, whose meaning the log defines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text of the note."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, encode_base64(self.root), *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Reads a note's text. Raises MalformedProof."""
        *lines, end = text.split("\n")
        if end or len(lines) < _LINES or not all(lines):
            raise MalformedProof("A checkpoint has at least three lines, none of them empty.")
        origin, size, root, *extensions = lines
        checkpoint = cls(origin, parse_number(size), decode_base64(root), tuple(extensions))
        if len(checkpoint.root) != HASH_SIZE or (checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT):
            raise MalformedProof("The root of the checkpoint can't be one.")
        return checkpoint

    def signed(self, signers: Sequence[SignerKey]) -> Note:
        """The checkpoint as a note with the signatures of these keys."""
        return Note.signed(self.text, signers)


def open_checkpoint(data: bytes, keys: Collection[VerifierKey], *, origin: str | None = None) -> Checkpoint:
    """The checkpoint in a signed note that at least one of the keys has signed as the log, and not as a witness only.

    Raises MalformedProof for what is no checkpoint; NotProven when it is not signed so, when a known key's signature is
    wrong, or when it is of another log than ``origin`` (``None``: any).
    """
    note = Note.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    if all(key.algorithm == COSIGNATURE for key in note.verified(keys)):
        raise NotProven("Only witnesses have signed the checkpoint, and not the log.")
    if origin is not None and checkpoint.origin != origin:
        raise NotProven(f"The checkpoint is of {checkpoint.origin}, not of {origin}.")
    return checkpoint


def parse_number(text: str) -> int:
    """A size or an index in decimal digits, without leading zeros. Raises MalformedProof."""
    if not _number(text) or int(text) > _MAX_SIZE:
        raise MalformedProof(f"{text[:40]!r} is not a size or an index.")
    return int(text)
