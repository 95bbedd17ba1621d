from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from api.auth import TokenPolicy, TokenVerifier, Unauthenticated
from ledger.actor import Actor, Role
from ledger.errors import SettingsError
from ledger.settings import Settings
from scripts.secret import with_secret
from scripts.tokens import make_token

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def settings_of(var_dir: Path, **environ: str) -> Settings:
    return with_secret(Settings.from_env({"LEDGER_VAR_DIR": str(var_dir), **environ}))


def verifier_of(settings: Settings, now: datetime = NOW) -> TokenVerifier:
    policy = TokenPolicy(secret=settings.jwt_secret, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    return TokenVerifier(policy, lambda: now)


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.STAFF, Role.AUDITOR, Role.ADMIN])
def test_the_api_takes_the_token_for_the_actor_it_was_made_for(tmp_path: Path, role: Role) -> None:
    settings = settings_of(tmp_path)

    token = make_token(settings, user=42, role=role, ttl=HOUR, now=NOW)

    assert verifier_of(settings).verify(token) == Actor(42, role)


def test_who_acts_for_the_user_is_in_the_token(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    token = make_token(settings, user=42, role=Role.STAFF, ttl=HOUR, now=NOW, act=7)

    assert verifier_of(settings).verify(token) == Actor(42, Role.STAFF, 7)


def test_issuer_and_audience_are_those_that_the_settings_ask_for(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, LEDGER_JWT_ISSUER="https://id.example", LEDGER_JWT_AUDIENCE="orders")

    token = make_token(settings, user=1, role=Role.CUSTOMER, ttl=HOUR, now=NOW)

    assert verifier_of(settings).verify(token) == Actor(1, Role.CUSTOMER)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"]) == ("https://id.example", "orders")


def test_the_token_ends(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    token = make_token(settings, user=1, role=Role.CUSTOMER, ttl=timedelta(seconds=1), now=NOW)

    with pytest.raises(Unauthenticated):
        verifier_of(settings, NOW + timedelta(seconds=1)).verify(token)


@pytest.mark.parametrize(
    "environ", [{"LEDGER_JWT_PUBLIC_KEY": "key.pem"}, {"LEDGER_JWT_JWKS_URL": "https://example.org/jwks"}]
)
def test_no_token_where_only_the_public_key_is_known(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="holder of the private key"):
        make_token(settings_of(tmp_path, **environ), user=1, role=Role.CUSTOMER, ttl=HOUR, now=NOW)
