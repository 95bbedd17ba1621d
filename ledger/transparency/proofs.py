"""Proofs that a leaf is in a log, in a text that checks offline (https://c2sp.org/tlog-proof)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ledger.errors import MalformedProof
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint, parse_number
from ledger.transparency.keys import VerifierKey, decode_base64, encode_base64
from ledger.transparency.merkle import HASH_SIZE, verify_inclusion

_HEADER = "c2sp.org/tlog-proof@v1"
_EXTRA, _INDEX = "extra ", "index "


@dataclass(frozen=True, slots=True)
class LogProof:
    """A leaf's ``index`` (from 0), its inclusion proof, and the signed checkpoint that it leads to, as it is written.

    ``extra`` is what the application adds; nothing signs it.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __str__(self) -> str:
        extra = [] if self.extra is None else [f"{_EXTRA}{encode_base64(self.extra)}"]
        lines = [_HEADER, *extra, f"{_INDEX}{self.index}", *map(encode_base64, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines) + self.checkpoint.decode()

    @classmethod
    def parse(cls, data: bytes) -> LogProof:
        """Reads a proof, but not the checkpoint in it. Raises MalformedProof."""
        head, separator, checkpoint = data.partition(b"\n\n")
        header, *lines = head.decode(errors="replace").split("\n")
        if header != _HEADER or not separator:
            raise MalformedProof("This is not a tlog-proof.")
        extra = decode_base64(lines.pop(0).removeprefix(_EXTRA)) if lines and lines[0].startswith(_EXTRA) else None
        if not lines or not lines[0].startswith(_INDEX):
            raise MalformedProof("The proof does not say the index of its leaf.")
        index, hashes = parse_number(lines[0].removeprefix(_INDEX)), tuple(map(decode_base64, lines[1:]))
        if any(len(each) != HASH_SIZE for each in hashes):
            raise MalformedProof("The proof has a line that is not a hash.")
        return cls(index, hashes, checkpoint, extra)

    def verify(self, leaf: bytes, keys: Collection[VerifierKey], *, origin: str | None = None) -> Checkpoint:
        """The checkpoint that the leaf with this hash is proven to be in; raises as ``open_checkpoint``, NotProven."""
        checkpoint = open_checkpoint(self.checkpoint, keys, origin=origin)
        verify_inclusion(leaf, self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint
