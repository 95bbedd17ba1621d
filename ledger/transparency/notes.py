"""Signed notes: a text and who signed it (https://c2sp.org/signed-note)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.errors import MalformedProof, NotProven
from ledger.transparency.keys import Signature, SignerKey, VerifierKey, check_name, decode_base64

MAX_SIGNATURES = 100
"""As many as golang.org/x/mod reads; the specification wants 16 at least."""

_ID_SIZE = 4
_FIRST_PRINTABLE = " "


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it is written; nothing in it is to be believed until ``verified`` says who signed it.

    ``text`` ends with a line feed.
    """

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}"

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Reads a note. Raises MalformedProof."""
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise MalformedProof("The note is not UTF-8.") from error
        if any(each < _FIRST_PRINTABLE and each != "\n" for each in whole):
            raise MalformedProof("The note has control characters.")
        text, separator, signatures = whole.rpartition("\n\n")
        lines = signatures.split("\n")
        if not separator or lines.pop() != "" or not 1 <= len(lines) <= MAX_SIGNATURES:
            raise MalformedProof(f"The note has no signatures at its end, or more than {MAX_SIGNATURES}.")
        return cls(f"{text}\n", tuple(_signature(line) for line in lines))

    @classmethod
    def signed(cls, text: str, signers: Iterable[SignerKey]) -> Note:
        """A new note of this text. Raises MalformedProof for a text that can't be one."""
        note = cls(text, tuple(signer.sign(text) for signer in signers))
        if cls.parse(str(note).encode()) != note:
            raise MalformedProof("The text of a note ends with a line feed.")
        return note

    def verified(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Those of the keys that have signed the note.

        Signatures of other keys are ignored. Raises NotProven when a key's signature is wrong, or none is there.
        """
        signers = []
        for key in keys:
            claims = [signature for signature in self.signatures if key.made(signature)]
            if not all(key.verifies(self.text, signature) for signature in claims):
                raise NotProven(f"The signature of {key.name} ({key.key_id.hex()}) is not valid.")
            if claims:
                signers.append(key)
        if not signers:
            raise NotProven("None of the given keys has signed the note.")
        return signers


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, separator, encoded = rest.partition(" ")
    if dash != "\N{EM DASH}" or not separator:
        raise MalformedProof("A line among the note's signatures is none.")
    check_name(name)
    value = decode_base64(encoded)
    if len(value) <= _ID_SIZE:
        raise MalformedProof("A signature of the note is too short.")
    return Signature(name, value[:_ID_SIZE], value[_ID_SIZE:])
