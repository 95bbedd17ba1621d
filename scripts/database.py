"""``migrate`` and ``doctor``: the schema, and whether everything is sound, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click

from ledger.errors import LedgerError, SettingsError
from projections.check import differences
from scripts.bootstrap import Runtime, build
from scripts.context import Session, pass_session
from scripts.settings_cmd import without_password

_SHOWN = 20
"""Faults shown of one kind: enough to see the pattern."""


@click.command("migrate")
@pass_session
def migrate(session: Session) -> None:
    """Create the schema, or bring it up to date. Safe to repeat, and while the ledger serves."""
    with build(session.settings) as runtime:
        runtime.migrate()
    session.say("The schema is up to date.")


@click.command("doctor")
@click.pass_context
@pass_session
def doctor(session: Session, ctx: click.Context) -> None:
    """Check settings, database, log and views, in words; exit 1 when something is not sound."""
    sound = True
    for subject, faults in _examine(session):
        for fault in faults[:_SHOWN]:
            click.echo(f"{subject}: {fault}")
        if len(faults) > _SHOWN:
            click.echo(f"{subject}: and {len(faults) - _SHOWN} more")
        if not faults:
            session.say(f"{subject}: sound")
        sound = sound and not faults
    if not sound:
        ctx.exit(1)


def _examine(session: Session) -> Iterator[tuple[str, list[str]]]:
    """Each subject with its faults; what needs a subject that is not sound is not looked at."""
    try:
        settings = session.settings
        runtime = build(settings)
    except SettingsError as error:
        yield "settings", [str(error)]
        return
    with runtime:
        yield "settings", _faults(lambda: _token_faults(runtime))
        unready = _faults(runtime.services.health.problems)
        yield f"database {without_password(settings.database_url)}", unready
        if not unready:
            head = runtime.services.health.head()
            yield f"log and views ({head:,} events)", _faults(lambda: differences(runtime.database))


def _token_faults(runtime: Runtime) -> list[str]:
    runtime.verifier()
    return []


def _faults(look: Callable[[], list[str]]) -> list[str]:
    try:
        return look()
    except (SettingsError, LedgerError) as error:
        return [str(error)]
