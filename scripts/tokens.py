"""``token``: bearer tokens for trying and operating the API, signed with the ledger's shared secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import jwt

from api.auth import MAX_USER, TOKEN_ROLES
from ledger.actor import Role
from ledger.errors import SettingsError
from ledger.settings import Settings
from scripts.context import Session, WholeNumber, pass_session
from scripts.secret import with_secret

_USER = WholeNumber(1, MAX_USER)


def make_token(
    settings: Settings, *, user: int, role: Role, ttl: timedelta, now: datetime, act: int | None = None
) -> str:
    """A signed token with the claims that the API asks for; raises SettingsError without a secret to sign with."""
    if settings.jwt_secret is None:
        raise SettingsError(
            "tokens are verified by public key here, so only the holder of the private key can make them; "
            "order-ledger token needs LEDGER_JWT_SECRET"
        )
    claims: dict[str, object] = {"sub": str(user), "role": role.value, "iat": now, "exp": now + ttl}
    if act is not None:
        claims["act"] = {"sub": str(act)}
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")


@click.command("token")
@click.option("--user", type=_USER, required=True, help="The user that the token speaks for.")
@click.option("--role", type=click.Choice(list(TOKEN_ROLES)), default=Role.CUSTOMER.value, show_default=True)
@click.option(
    "--ttl",
    type=WholeNumber(1, 366 * 86400, unit="seconds"),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long the token is good for.",
)
@click.option("--act", type=_USER, metavar="USER", help="Another user who acts for --user; recorded with every event.")
@pass_session
def token(session: Session, user: int, role: str, ttl: int, act: int | None) -> None:
    """Print a bearer token, alone, on stdout."""
    settings = with_secret(session.settings)
    click.echo(
        make_token(settings, user=user, role=Role(role), ttl=timedelta(seconds=ttl), now=datetime.now(UTC), act=act)
    )
