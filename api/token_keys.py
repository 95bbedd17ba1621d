"""Where the keys that verify bearer tokens come from. The key decides which algorithm counts; the token never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.exceptions import PyJWKClientConnectionError, PyJWKClientError

from api.problems import Refusal
from ledger.errors import SettingsError
from ledger.settings_reader import MIN_SECRET_BYTES

MIN_RSA_BITS = 2048
JWKS_TIMEOUT = 3.0
JWKS_LIFESPAN = 300.0
JWKS_COOLDOWN = 30.0
JWKS_BACKOFF = 5.0
"""Seconds: for one fetch, to keep a key set, between fetches for an unknown key id, and after a failed fetch."""

VerificationKey = str | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class UnknownKey(Exception):
    """No trusted key fits the token."""


class KeySource(Protocol):
    """Finds the key for a token, with the one algorithm that may be used with it."""

    def key_for(self, token: str) -> tuple[VerificationKey, str]:
        """Raises UnknownKey, or Refusal when the keys can't be fetched."""


class OneKey:
    """A single key known from the start: a shared secret or a public key."""

    def __init__(self, key: VerificationKey, algorithm: str) -> None:
        self._found = (key, algorithm)

    @classmethod
    def shared_secret(cls, secret: str) -> OneKey:
        """HS256 with ``secret``."""
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise SettingsError(f"the shared secret of bearer tokens must be at least {MIN_SECRET_BYTES} bytes long")
        if "-----BEGIN" in secret:
            raise SettingsError("the shared secret of bearer tokens is a PEM key; configure it as the public key")
        return cls(secret, "HS256")

    @classmethod
    def public_key(cls, pem: str) -> OneKey:
        """RS256, ES256 or EdDSA, as the type of the PEM public key says."""
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SettingsError("the public key of bearer tokens is not a PEM public key") from error
        algorithm = algorithm_of(key)
        if algorithm is None:
            raise SettingsError(
                f"the public key of bearer tokens must be RSA (at least {MIN_RSA_BITS} bits), EC P-256 or Ed25519"
            )
        return cls(key, algorithm)  # type: ignore[arg-type]  # algorithm_of knows only these types

    def key_for(self, token: str) -> tuple[VerificationKey, str]:  # noqa: ARG002  # whatever the token says
        """The key."""
        return self._found


class KeySet:
    """The keys of a JWKS URL, found by the token's ``kid``."""

    def __init__(self, url: str, seconds: Callable[[], float]) -> None:
        try:
            self._client = _JwksClient(url, seconds)
        except PyJWKClientError as error:
            raise SettingsError("the JWKS URL of bearer tokens must be an http or https URL") from error

    def key_for(self, token: str) -> tuple[VerificationKey, str]:
        """The key that the token's header names."""
        key_id = jwt.get_unverified_header(token).get("kid")
        if not isinstance(key_id, str):
            raise UnknownKey("it names no key id (kid)")
        try:
            found = self._client.get_signing_key(key_id)
        except _KeysUnavailable as error:
            raise Refusal("keys-unavailable", "The keys that verify bearer tokens can't be fetched.") from error
        except PyJWKClientError as error:
            raise UnknownKey("its key id (kid) is not known") from error
        algorithm = algorithm_of(found.key)
        # A symmetric key in a published set is no secret, whatever it says.
        if algorithm is None or found.algorithm_name != algorithm:
            raise UnknownKey("its key is of a kind that is not accepted")
        return found.key, algorithm


class _KeysUnavailable(PyJWKClientConnectionError):
    """The key set can't be fetched or read."""


class _JwksClient(jwt.PyJWKClient):
    """Fails fast for a while after a failed fetch, so that an outage doesn't hold every thread in a time-out."""

    def __init__(self, url: str, seconds: Callable[[], float]) -> None:
        super().__init__(url, lifespan=JWKS_LIFESPAN, timeout=JWKS_TIMEOUT, cooldown_duration=JWKS_COOLDOWN)
        self._seconds = seconds
        self._closed_until = float("-inf")

    def fetch_data(self) -> Any:
        """Fetches the key set."""
        if self._seconds() < self._closed_until:
            raise _KeysUnavailable("the last fetch failed a moment ago")
        try:
            return super().fetch_data()
        except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
            self._closed_until = self._seconds() + JWKS_BACKOFF
            raise _KeysUnavailable(f"the key set can't be fetched: {error}") from error


def algorithm_of(key: object) -> str | None:
    """The one algorithm for which ``key`` is accepted, or ``None``."""
    if isinstance(key, RSAPublicKey):
        return "RS256" if key.key_size >= MIN_RSA_BITS else None
    if isinstance(key, EllipticCurvePublicKey):
        return "ES256" if isinstance(key.curve, SECP256R1) else None
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else None
