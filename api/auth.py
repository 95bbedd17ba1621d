"""Bearer tokens: from a signed JSON Web Token to the actor it stands for."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from jwt.exceptions import InvalidSubjectError
from jwt.types import Options

from api.problems import Refusal
from api.strict_json import MAX_INTEGER
from api.token_keys import KeySet, KeySource, OneKey, UnknownKey
from ledger.actor import Actor, Role
from ledger.errors import SettingsError

MAX_TOKEN_LENGTH = 8192
MAX_USER = MAX_TIME = MAX_INTEGER
CACHE_SIZE = 4096
CACHE_SECONDS = 60.0
"""A verified token is trusted for this long at most, so that a withdrawn key stops counting soon."""

REALM = 'Bearer realm="order-ledger"'
TOKEN_ROLES = {role.value: role for role in (Role.CUSTOMER, Role.STAFF, Role.AUDITOR, Role.ADMIN)}

_is_compact_jws = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*").fullmatch
_is_user = re.compile(r"[1-9][0-9]{0,15}").fullmatch
_OPTIONS: Options = {
    "require": ["exp", "sub"],
    # Times are checked here instead: by the injected clock, and refusing what is not a finite number.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class Unauthenticated(Refusal):
    """No acceptable token. ``reason`` completes "The bearer token is refused: ...", or is ``None`` without a token."""

    def __init__(self, reason: str | None) -> None:
        if reason is None:
            detail, challenge = "The request carries no bearer token.", REALM
        else:
            detail = f"The bearer token is refused: {reason}."
            challenge = f'{REALM}, error="invalid_token", error_description="{reason}"'
        super().__init__("unauthenticated", detail, headers={"WWW-Authenticate": challenge})


@dataclass(frozen=True)
class TokenPolicy:
    """Which tokens are accepted: exactly one of the three kinds of key; ``leeway`` in seconds."""

    secret: str | None = None
    public_key: str | None = None
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    leeway: int = 0

    def __repr__(self) -> str:
        return f"TokenPolicy(issuer={self.issuer!r}, audience={self.audience!r})"  # never the secret


class TokenVerifier:
    """Verifies bearer tokens. Safe for use by many threads."""

    def __init__(self, policy: TokenPolicy, clock: Callable[[], datetime]) -> None:
        self._policy = policy
        self._seconds: Callable[[], float] = lambda: clock().timestamp()
        self._keys = _key_source(policy, self._seconds)
        self._verified: dict[str, tuple[Actor, float]] = {}
        self._storing = threading.Lock()

    def verify(self, token: str) -> Actor:
        """The actor that ``token`` stands for; raises Unauthenticated, or Refusal when keys can't be fetched."""
        now = self._seconds()
        known = self._verified.get(token)
        if known is not None and now < known[1]:
            return known[0]
        claims = self._claims(token)
        expiry = _check_times(claims, now, self._policy.leeway)
        actor = _actor(claims)
        self._remember(token, actor, min(expiry, now + CACHE_SECONDS))
        return actor

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH or not _is_compact_jws(token):
            raise Unauthenticated("it is malformed")
        try:
            key, algorithm = self._keys.key_for(token)
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                options=_OPTIONS,
                issuer=self._policy.issuer,
                audience=self._policy.audience,
            )
        except UnknownKey as error:
            raise Unauthenticated(str(error)) from error
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unauthenticated(_reason(error)) from error

    def _remember(self, token: str, actor: Actor, until: float) -> None:
        with self._storing:
            if len(self._verified) >= CACHE_SIZE:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = (actor, until)


def bearer_token(header: str | None) -> str:
    """The token of an Authorization header; raises Unauthenticated without one."""
    parts = (header or "").split(maxsplit=2)
    if not parts or parts[0].lower() != "bearer":
        raise Unauthenticated(None)
    if len(parts) != 2:  # noqa: PLR2004  # scheme and token
        raise Unauthenticated("it is malformed")
    return parts[1]


def _key_source(policy: TokenPolicy, seconds: Callable[[], float]) -> KeySource:
    if sum(source is not None for source in (policy.secret, policy.public_key, policy.jwks_url)) != 1:
        raise SettingsError("bearer tokens need exactly one of a shared secret, a public key and a JWKS URL")
    if policy.secret is not None:
        return OneKey.shared_secret(policy.secret)
    if policy.public_key is not None:
        return OneKey.public_key(policy.public_key)
    return KeySet(str(policy.jwks_url), seconds)


def _reason(error: Exception) -> str:
    """Enough for an honest client to help itself; why a signature fails is nobody's business."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it lacks the claim {error.claim}"
    if isinstance(error, jwt.InvalidIssuerError):
        return "its issuer is not accepted"
    if isinstance(error, jwt.InvalidAudienceError):
        return "its audience is not accepted"
    if isinstance(error, InvalidSubjectError):
        return "its sub is not a user id"
    if isinstance(error, (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError)):
        return "its signature is not valid"
    return "it is malformed"


def _check_times(claims: Mapping[str, Any], now: float, leeway: int) -> float:
    expiry = _time(claims, "exp") + leeway
    if expiry <= now:
        raise Unauthenticated("it has expired")
    for claim in ("nbf", "iat"):
        if claim in claims and _time(claims, claim) > now + leeway:
            raise Unauthenticated("it is not valid yet")
    return expiry


def _time(claims: Mapping[str, Any], claim: str) -> float:
    value = claims[claim]
    # NaN, which would never expire, fails the comparison.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_TIME:
        raise Unauthenticated(f"its {claim} is not a time")
    return float(value)


def _actor(claims: Mapping[str, Any]) -> Actor:
    role = claims.get("role", Role.CUSTOMER.value)
    if not isinstance(role, str) or role not in TOKEN_ROLES:
        raise Unauthenticated("its role is unknown")
    impersonator = None
    if "act" in claims:
        act = claims["act"]
        impersonator = _user(act.get("sub") if isinstance(act, dict) else None, "act.sub")
    return Actor(_user(claims["sub"], "sub"), TOKEN_ROLES[role], impersonator)


def _user(value: object, claim: str) -> int:
    if not isinstance(value, str) or not _is_user(value) or int(value) > MAX_USER:
        raise Unauthenticated(f"its {claim} is not a user id")
    return int(value)
