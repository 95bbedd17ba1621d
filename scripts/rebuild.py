"""``rebuild``: makes views again from the log while others read and append, or goes back to what was before."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from ledger.errors import LedgerError, StorageUnavailable
from ledger.storage import open_database
from projections.batches import Batches, batches
from projections.migrate import schema_fault
from projections.parallel import Workers
from projections.poison import Poison, SetAside
from projections.rebuild import rebuild as rebuild_view
from projections.rebuild import roll_back
from projections.search_follower import rebuild_search
from projections.searchable import VIEW as SEARCH
from projections.store import VIEWS
from projections.view import View
from projections.watcher import Progress, Watcher
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session
from scripts.progress import Tell, watched

_VIEWS = {view.name: view for view in (*VIEWS, SEARCH)}


@click.command("rebuild")
@click.argument("view", type=click.Choice(list(_VIEWS)), required=False)
@click.option("--rollback", is_flag=True, help="Go back to the table of VIEW that was there before its last rebuild.")
@click.option(
    "--workers",
    type=WholeNumber(1, 64),
    default=1,
    show_default=True,
    help="Processes that read and fold the log; worth it where CPUs are idle.",
)
@click.option(
    "--skip-poison",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write events that can't be taken in to FILE, as JSON lines, and go on; exit 1 when there were any.",
)
@click.option("--json", "as_json", is_flag=True, help="Progress as JSON on stdout, an object a line.")
@click.pass_context
@pass_session
def rebuild(
    session: Session,
    ctx: click.Context,
    *,
    view: str | None,
    rollback: bool,
    workers: int,
    skip_poison: Path | None,
    as_json: bool,
) -> None:
    """Make VIEW, or all views, again from the log, while the ledger serves. The former table is kept for --rollback."""
    if rollback and (view is None or skip_poison is not None):
        raise click.UsageError("--rollback takes a VIEW, and no --skip-poison.")
    if view == SEARCH.name and (rollback or skip_poison is not None or workers > 1):
        raise click.UsageError(f"{SEARCH.name} follows the log: it takes no --rollback, --skip-poison or --workers.")
    skipped = 0
    with build(session.settings) as runtime, _source(runtime, workers) as source:
        _require_schema(runtime)
        for each in [_VIEWS[view]] if view else _VIEWS.values():
            began = time.monotonic()
            with watched(session, as_json=as_json) as tell:
                if each is SEARCH:
                    ended = rebuild_search(runtime.database, Watcher(tell=tell))
                elif rollback:
                    ended = roll_back(runtime.database, each, VIEWS, watcher=Watcher(tell=tell))
                else:
                    ended = _rebuilt(runtime, each, tell, skip_poison, source)
            session.say(_summary(ended, time.monotonic() - began, rollback=rollback))
            skipped += ended.skipped
    if skipped:
        session.say(f"{skipped:,} events could not be taken in: they are in {skip_poison}.")
        ctx.exit(1)


def _require_schema(runtime: Runtime) -> None:
    with runtime.database.read() as cursor:
        fault = schema_fault(cursor, runtime.database.dialect)
    if fault is not None:
        raise StorageUnavailable(fault)


@contextmanager
def _source(runtime: Runtime, workers: int) -> Iterator[Batches]:
    """What folds the log: this process, or others."""
    if workers == 1:
        yield batches
        return
    connect = partial(open_database, runtime.settings.database_url, timeout=runtime.settings.db_timeout)
    with Workers(connect, workers) as started:
        yield started.batches


def _rebuilt(runtime: Runtime, view: View, tell: Tell, skip_poison: Path | None, source: Batches) -> Progress:
    set_aside = None if skip_poison is None else _setter_aside(skip_poison)
    watcher = Watcher(tell=tell)
    return rebuild_view(runtime.database, view, VIEWS, watcher=watcher, set_aside=set_aside, source=source)


def _setter_aside(path: Path) -> SetAside:
    def set_aside(poison: Sequence[Poison]) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(f"{_json(each)}\n" for each in poison)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise LedgerError(f"{path} can't be written: {error.strerror}") from error

    return set_aside


def _json(poison: Poison) -> str:
    return json.dumps({**poison.event._asdict(), "error": poison.error}, ensure_ascii=False)


def _summary(ended: Progress, seconds: float, *, rollback: bool) -> str:
    done = "the former table is back" if rollback else "rebuilt and in force"
    return f"{ended.view}: {done}, up to event {ended.done:,}, after {seconds:.1f} s."
