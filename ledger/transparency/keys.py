"""Keys of signed notes (https://c2sp.org/signed-note) and of cosignatures (https://c2sp.org/tlog-cosignature).

A key's texts are those of golang.org/x/mod/sumdb/note: ``NAME+ID+BASE64`` for the verifier,
``PRIVATE+KEY+NAME+ID+BASE64`` for the signer. Both are Ed25519 (RFC 8032), the private key as its 32-byte seed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import MalformedProof

ED25519 = 0x01
COSIGNATURE = 0x04
"""Timestamped checkpoint cosignatures, cosignature/v1."""

_ALGORITHMS = frozenset({ED25519, COSIGNATURE})
_KEY_SIZE = 32
_ID_SIZE = 4
_TIME_SIZE = 8
_MAX_TIME = 2**63 - 1
_PRIVATE = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a note: the key's name and id (4 bytes), and what the key's algorithm has made."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """Its line in a note, with the line feed."""
        return f"\N{EM DASH} {self.name} {encode_base64(self.key_id + self.value)}\n"

    @property
    def timestamp(self) -> int:
        """Of a cosignature: when it was made, in seconds since 1970."""
        return int.from_bytes(self.value[:_TIME_SIZE], "big")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name of its owner."""

    name: str
    algorithm: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name, line feed, algorithm, public key), the first four bytes."""
        return sha256(f"{self.name}\n".encode() + bytes([self.algorithm]) + self.public).digest()[:_ID_SIZE]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.algorithm]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Reads a verifier key. Raises MalformedProof when it is none, or its id is not that of its parts."""
        name, algorithm, public = _parsed(text)
        key = cls(name, algorithm, public)
        if str(key) != text:
            raise MalformedProof("The verifier key's id is not that of its name and key.")
        return key

    def made(self, signature: Signature) -> bool:
        """Whether the signature says that this key has made it."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def verifies(self, text: str, signature: Signature) -> bool:
        """Whether this key has signed this text so."""
        value, message = signature.value, text
        if self.algorithm == COSIGNATURE:
            value, message = value[_TIME_SIZE:], cosigned_message(text, signature.timestamp)
            if signature.timestamp > _MAX_TIME:
                return False
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, message.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key with the name of its owner; its text is a secret."""

    name: str
    algorithm: int
    seed: bytes

    def __repr__(self) -> str:
        return f"SignerKey({self.name})"

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self.algorithm, self._private().public_key().public_bytes_raw())

    @property
    def secret_text(self) -> str:
        """The text that ``parse`` reads."""
        key = encode_base64(bytes([self.algorithm]) + self.seed)
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{key}"

    @classmethod
    def generate(cls, name: str, random: Callable[[int], bytes], algorithm: int = ED25519) -> SignerKey:
        """A new key from so many random bytes. Raises MalformedProof for a name that no key may have."""
        check_name(name)
        return cls(name, algorithm, random(_KEY_SIZE))

    @classmethod
    def parse(cls, text: str) -> SignerKey:
        """Reads a signer key. Raises MalformedProof, which never quotes it."""
        if not text.startswith(_PRIVATE):
            raise MalformedProof("This is not a signer key.")
        key = cls(*_parsed(text.removeprefix(_PRIVATE)))
        if key.secret_text != text:
            raise MalformedProof("The signer key's id is not that of its name and key.")
        return key

    def sign(self, text: str, timestamp: int = 0) -> Signature:
        """Signs a note's text; ``timestamp`` (seconds since 1970) counts for a key of cosignatures."""
        message, prefix = text, b""
        if self.algorithm == COSIGNATURE:
            message, prefix = cosigned_message(text, timestamp), timestamp.to_bytes(_TIME_SIZE, "big")
        return Signature(self.name, self.verifier.key_id, prefix + self._private().sign(message.encode()))

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def cosigned_message(text: str, timestamp: int) -> str:
    """What a cosigner signs of a checkpoint's text."""
    return f"cosignature/v1\ntime {timestamp}\n{text}"


def check_name(name: str) -> None:
    """Raises MalformedProof for what is not the name of a key: empty, or with white space or a plus in it."""
    if not name or "+" in name or any(each.isspace() or not each.isprintable() for each in name):
        raise MalformedProof("The name of a key must not be empty, nor hold white space or a plus sign.")


def encode_base64(data: bytes) -> str:
    """Base64 as RFC 4648 (section 4) has it."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes:
    """The bytes; raises MalformedProof for anything that ``encode_base64`` does not write."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise MalformedProof("This is not base64.") from error
    if encode_base64(data) != text:
        raise MalformedProof("This is not base64 in its canonical form.")
    return data


def _parsed(text: str) -> tuple[str, int, bytes]:
    """Name, algorithm and key bytes; the id is for the caller to check."""
    name, _, rest = text.partition("+")
    key = decode_base64(rest.partition("+")[2])
    check_name(name)
    if len(key) != 1 + _KEY_SIZE or key[0] not in _ALGORITHMS:
        raise MalformedProof("The key is not of a known algorithm and size.")
    return name, key[0], key[1:]
