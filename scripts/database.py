"""``migrate`` and ``doctor``: the schema, and whether everything is sound, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from ledger.errors import LedgerError, SettingsError, told_whole
from ledger.events import UNREADABLE
from projections.check import check
from projections.health import Symptom, in_sentence
from projections.watcher import Watcher
from scripts.bootstrap import Runtime, build, check_extras, token_verifier
from scripts.check import told
from scripts.context import Session, pass_session
from scripts.gateway import described, warnings_about
from scripts.progress import watched
from scripts.secret import with_kept_secret
from scripts.settings_cmd import without_password

_SQLITE = "sqlite:///"


@click.command("migrate")
@pass_session
def migrate(session: Session) -> None:
    """Create the schema, or bring it up to date. Safe to repeat, and beside a server of this release."""
    with build(session.settings) as runtime:
        with watched(session) as tell:
            runtime.migrate(Watcher(tell=tell))
        former = runtime.former_views()
    session.say("The schema is up to date.")
    if former:
        session.say(former)


@click.command("doctor")
@click.pass_context
@pass_session
def doctor(session: Session, ctx: click.Context) -> None:
    """Check settings, database, log and views, in words; exit 1 when something is not sound."""
    sound = True
    for subject, faults in _examine(session):
        for fault in faults:
            click.echo(f"{subject}: {fault}")
        if not faults:
            _tell(session, f"{subject}: sound")
        sound = sound and not faults
    if not sound:
        ctx.exit(1)


def _tell(session: Session, line: str) -> None:
    """Good news, which is as much a result as a fault is; but who wants quiet can take it from the exit code."""
    if not session.quiet:
        click.echo(line)


def _examine(session: Session) -> Iterator[tuple[str, list[str]]]:
    """Each subject with its faults; what needs a subject that is not sound is not looked at."""
    try:
        settings = session.settings
        runtime = build(settings)
    except SettingsError as error:
        yield "settings", [str(error)]
        return
    with runtime:
        unsettled = _faults(lambda: _settings_faults(session))
        yield "settings", unsettled
        asked = "" if settings.stripe_secret_key is None else "; it is not asked here, but by `order-ledger reconcile`"
        _tell(session, f"payments: {described(settings)}{asked}")
        for warning in warnings_about(settings):
            _tell(session, f"payments: {warning}")
        store = settings.rate_limit_store
        limited = settings.rate_limit_user or settings.rate_limit_address
        if limited and settings.limits_in_redis and not unsettled:
            yield f"limits {without_password(store)}", _limits_faults(store)
        unready = _faults(lambda: _database_faults(runtime))
        yield f"database {without_password(settings.database_url)}", unready
        if not unready:
            health = runtime.services.health
            head = health.head()
            yield "followers and views", _faults(lambda: _follower_faults(session, runtime))
            yield "webhooks", _faults(lambda: _told(health.complaints()))
            yield f"log and views ({head:,} events)", _faults(lambda: list(told(check(runtime.database))))


def _settings_faults(session: Session) -> list[str]:
    check_extras(session.settings)
    settings = with_kept_secret(session.settings)
    if settings is None:
        _tell(session, "settings: there is no secret of bearer tokens yet; it is made when one is needed")
    else:
        token_verifier(settings)
    return []


def _limits_faults(store: str) -> list[str]:
    from api.limits import store_answers  # noqa: PLC0415  what counts is loaded only where somebody counts

    try:
        if store_answers(store):
            return []
    except ValueError:  # whose text may have a part of the password
        return ["LEDGER_RATE_LIMIT_STORE is no URL of a store."]
    return ["It does not answer, so that each worker counts by itself: start it, or correct LEDGER_RATE_LIMIT_STORE."]


def _database_faults(runtime: Runtime) -> list[str]:
    path = runtime.settings.database_url.removeprefix(_SQLITE)
    # Not an outage, as a file that can't be used is: there is nothing here yet to be looked at.
    if path != runtime.settings.database_url and not Path(path).exists():
        return ["There is no such file yet; `order-ledger migrate` creates one."]
    problem = runtime.services.health.problem()
    return [] if problem is None else [problem]


def _follower_faults(session: Session, runtime: Runtime) -> list[str]:
    health = runtime.services.health
    for state in health.followers():
        if state.begun:
            _tell(session, f"{in_sentence(state.name)}: it is being made, {state.position:,} of {state.head:,} events")
    return [*_faults(lambda: _origin_faults(runtime)), *_told(health.symptoms())]


def _origin_faults(runtime: Runtime) -> list[str]:
    runtime.follower().check_origin()
    return []


def _told(symptoms: Iterable[Symptom]) -> list[str]:
    return [f"{symptom.what} {symptom.remedy}" for symptom in symptoms]


def _faults(look: Callable[[], list[str]]) -> list[str]:
    try:
        return look()
    except (SettingsError, LedgerError, OSError) as error:
        return [str(error)]
    except UNREADABLE as error:
        return [f"What is stored can't be read: {told_whole(error)}."]
