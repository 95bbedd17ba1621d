"""Cosignatures of witnesses, kept beside the checkpoints that they are for.

A checkpoint that is signed anew at its size, by another key or with more to say, keeps those of its very text.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import NotProven
from ledger.storage import Database
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.keys import VerifierKey
from ledger.transparency.notes import Note
from projections.tree import checkpoint_of_size, latest_cosigned

_PUT = (
    "INSERT INTO log_cosignatures (size, witness, signed_text, line) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (size, witness) DO UPDATE SET signed_text = excluded.signed_text, line = excluded.line"
)


class Cosignatures:
    """Takes cosignatures of these witnesses, and of no others."""

    def __init__(self, database: Database, witnesses: Sequence[VerifierKey]) -> None:
        self._database = database
        self._witnesses = witnesses

    def add(self, data: bytes) -> Checkpoint:
        """Keeps those of the checkpoint in a note that its signatures bring; twice is as once.

        Raises MalformedProof for what is no such note; NotProven when none of the witnesses has signed it, one's
        signature is wrong, or the ledger has signed no such checkpoint. May raise StorageUnavailable.
        """
        note = Note.parse(data)
        checkpoint = Checkpoint.parse(note.text)
        signatures = [(key, each) for key in self._witnesses for each in note.signatures if key.made(each)]
        if not signatures:
            raise NotProven("No witness that LEDGER_WITNESSES names has signed it.")
        note.verified(self._witnesses)
        with self._database.transaction() as cursor:
            stored = checkpoint_of_size(cursor, checkpoint.size)
            if stored is None or stored.text != note.text:
                raise NotProven("The ledger has signed no such checkpoint.")
            rows = [(checkpoint.size, str(key), note.text, signature.line) for key, signature in signatures]
            cursor.executemany(_PUT, rows)
        return checkpoint

    def latest(self) -> str | None:
        """The latest checkpoint that a witness has cosigned, with all its signatures; ``None`` when there is none."""
        with self._database.read() as cursor:
            return latest_cosigned(cursor)
