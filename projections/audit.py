"""Verification: a log, from wherever it is read, against its rules, its checkpoints and what was kept of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ledger.clock import rfc3339
from ledger.errors import MalformedProof, NotProven
from ledger.storage.log import RecordedEvent
from ledger.transparency.chain import Chain
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from ledger.transparency.keys import VerifierKey
from ledger.transparency.notes import Note
from projections.attested import is_attestation
from projections.digest import OrderDigest
from projections.rules import Rules

_LAST_SECOND = 253_402_300_799  # of the year 9999

MAX_FAULTS = 1000
"""Faults that are kept; further ones are only counted."""


@dataclass
class Findings:
    """What an audit has found: ``faults`` are wrong, a sentence each; ``remarks`` are to be known."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    more: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def add(self, faults: Iterable[str]) -> None:
        """Adds faults."""
        for fault in faults:
            if len(self.faults) < MAX_FAULTS:
                self.faults.append(fault)
            else:
                self.more += 1


class Audit:
    """Takes the events of a log one by one, and the checkpoints that it is to lead to."""

    def __init__(self, checkpoints: Iterable[Checkpoint], findings: Findings) -> None:
        self.findings = findings
        self.chain = Chain()
        self._due: dict[int, list[Checkpoint]] = {}
        self._proven = 0
        self._disproven: list[int] = []
        for checkpoint in checkpoints:
            self._due.setdefault(checkpoint.size, []).append(checkpoint)
        due = (checkpoint for checkpoints in self._due.values() for checkpoint in checkpoints)
        self._rules = Rules(attesting=any(map(_attestations, due)))
        self._compare()

    def add(self, event: RecordedEvent) -> None:
        """Checks one event, and what is due with it."""
        faults = self.chain.add(event)
        if faults:
            self.findings.add(faults)
        faults = self._rules.add(event)
        if faults:
            at = f"position {event.position} ({event.stream} version {event.version})"
            self.findings.add(f"{at}: {fault}" for fault in faults)
        if self.chain.size in self._due:
            self._compare()

    def finish(self) -> OrderDigest:
        """Says what is left when the log has ended; returns the digest of its orders."""
        size = self.chain.size
        for later in sorted(self._due):
            self.findings.add([f"the log ends at {size}, and a checkpoint of {later} was signed: events are missing"])
        self.findings.add(
            f"the log was forked: the checkpoints of {older} and {self._proven} were both signed, and are of two logs"
            for older in self._disproven
            if older <= self._proven
        )
        covered = max(self._proven, *self._disproven, 0)
        if size > covered:
            self.findings.remarks.append(f"events {covered + 1} to {size} are in no checkpoint: nothing proves them")
        return self._rules.digest()

    def _compare(self) -> None:
        size = self.chain.size
        for checkpoint in self._due.pop(size, ()):
            if checkpoint.root == self.chain.root():
                self._proven = size
                self.findings.add(
                    f"checkpoint of {size}: the orders that were served then are not those that the log comes to"
                    for line in _attestations(checkpoint)
                    if line != self._rules.attestation()
                )
            else:
                self._disproven.append(size)
                places = f"between positions {self._proven + 1} and {size}" if size > self._proven else f"up to {size}"
                self.findings.add(
                    [f"checkpoint of {size}: its root is another: an event was changed, added or removed {places}"]
                )


def _attestations(checkpoint: Checkpoint) -> list[str]:
    return [line for line in checkpoint.extensions if is_attestation(line)]


def check_witnesses(notes: Sequence[tuple[str, bytes]], witnesses: Sequence[VerifierKey], findings: Findings) -> None:
    """Says up to where each witness vouches for the log by its cosignatures of these notes. Who does not is a fault."""
    for witness in witnesses:
        vouched: list[tuple[int, int]] = []
        for name, data in notes:
            try:
                note = Note.parse(data)
                made = [signature for signature in note.signatures if witness.made(signature)]
                if made and note.verified([witness]):
                    vouched.append((Checkpoint.parse(note.text).size, made[0].timestamp))
            except (MalformedProof, NotProven) as error:
                findings.add([f"{name}: {error}"])
        if vouched:
            size, moment = max(vouched)
            findings.remarks.append(f"{witness.name} has cosigned {size} events {_when(moment)}")
        else:
            findings.add([f"{witness.name} has cosigned none of the checkpoints"])


def _when(timestamp: int) -> str:
    """A cosignature's time in words; a witness may put there what no calendar has."""
    if timestamp > _LAST_SECOND:
        return f"{timestamp} seconds after 1970"
    return f"at {rfc3339(datetime.fromtimestamp(timestamp, UTC))}"


def open_checkpoints(
    notes: Sequence[tuple[str, bytes]], keys: Collection[VerifierKey], findings: Findings
) -> Iterator[Checkpoint]:
    """Those of the named notes that are checkpoints of one log, signed by one of the keys; the others are faults."""
    origin = None
    for name, note in notes:
        try:
            checkpoint = open_checkpoint(note, keys, origin=origin)
        except (MalformedProof, NotProven) as error:
            findings.add([f"{name}: {error}"])
            continue
        origin = checkpoint.origin
        yield checkpoint
