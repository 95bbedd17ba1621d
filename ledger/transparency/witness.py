"""A witness of a log: it cosigns what continues what it has cosigned before, and nothing else.

The request and its answers are those of https://c2sp.org/tlog-witness, the signature of https://c2sp.org/tlog-cosignature.
Who finds a witness's cosignature on a checkpoint knows that everybody else who does was shown the same log.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ledger.errors import MalformedProof, NotProven
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint, parse_number
from ledger.transparency.keys import Signature, SignerKey, VerifierKey, decode_base64, encode_base64
from ledger.transparency.merkle import EMPTY_ROOT, verify_consistency

MAX_PROOF = 63
_OLD = "old "


class StaleRequest(NotProven):
    """The request begins at another size than the one that the witness has cosigned last, which is ``size``."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The witness has cosigned a checkpoint of {size} last: the proof must begin there.")
        self.size = size


@dataclass(frozen=True, slots=True)
class Seen:
    """The size and root of the log that a witness has cosigned last."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class CosignRequest:
    """A checkpoint as it is written, and the consistency proof that leads to it from a size."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def __str__(self) -> str:
        lines = [f"{_OLD}{self.old}", *map(encode_base64, self.proof), ""]
        return "".join(f"{line}\n" for line in lines) + self.checkpoint.decode()

    @classmethod
    def parse(cls, data: bytes) -> CosignRequest:
        """Reads the body of an ``add-checkpoint`` request. Raises MalformedProof."""
        head, separator, checkpoint = data.partition(b"\n\n")
        first, *proof = head.decode(errors="replace").split("\n")
        if not separator or not first.startswith(_OLD) or len(proof) > MAX_PROOF:
            raise MalformedProof("This is not an old size, a consistency proof and a checkpoint.")
        return cls(parse_number(first.removeprefix(_OLD)), tuple(map(decode_base64, proof)), checkpoint)


def cosign(
    request: CosignRequest, logs: Collection[VerifierKey], seen: Seen, witness: SignerKey, now: int
) -> tuple[Seen, Signature]:
    """What has been seen then, which must be kept before the signature is given away.

    ``now`` is in seconds since 1970. Raises NotProven when none of the log's keys has signed the checkpoint or it does
    not continue what was seen, StaleRequest, and MalformedProof.
    """
    checkpoint = open_checkpoint(request.checkpoint, logs)
    if request.old != seen.size:
        raise StaleRequest(seen.size)
    if request.old > checkpoint.size:
        raise MalformedProof("The old size is larger than the checkpoint's.")
    _check_continues(checkpoint, seen, request)
    return Seen(checkpoint.size, checkpoint.root), witness.sign(checkpoint.text, now)


def _check_continues(checkpoint: Checkpoint, seen: Seen, request: CosignRequest) -> None:
    if seen.size == 0 and request.proof:
        raise NotProven("A proof from nothing is empty.")
    if seen.size == checkpoint.size and seen.root != checkpoint.root:
        raise NotProven(f"The log shows another tree of {seen.size} than it has shown before: it was forked.")
    if seen.size:
        verify_consistency(seen.size, checkpoint.size, request.proof, seen.root, checkpoint.root)
