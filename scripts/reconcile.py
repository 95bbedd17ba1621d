"""``reconcile``: compares the ledger with the payment gateway, from both sides, and with --fix mends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from uuid import uuid4

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ledger.clock import utc_now
from ledger.payments.reconcile import EVER, Batch, Finding, Reconciler
from ledger.storage.reservations import Reservations
from projections.standings import StandingReads
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session

_DAYS = 30
_LINES_EVERY = 5_000


@click.command("reconcile")
@click.option("--fix", is_flag=True, help="Mend what needs no person to decide; without it, nothing is changed.")
@click.option(
    "--days", type=WholeNumber(1, 36_500), metavar="N", help=f"Payments begun in the last N days (default: {_DAYS})."
)
@click.option("--all", "everything", is_flag=True, help="All payments there ever were.")
@click.pass_context
@pass_session
def reconcile(session: Session, ctx: click.Context, fix: bool, days: int | None, everything: bool) -> None:
    """Compare the orders with the payment gateway, both ways; exit 1 when something differs and is not mended.

    Orders that wait for their payment are compared whenever they were made. Safe to run at any time.
    """
    if everything and days is not None:
        raise click.UsageError("--days and --all exclude each other.")
    since = EVER if everything else utc_now() - timedelta(days=days or _DAYS)
    with build(session.settings) as runtime:
        runtime.require_ready()
        reconciler = _reconciler(runtime, fix=fix)
        batches = chain(reconciler.intents(since), reconciler.orders(), reconciler.owing())
        compared, differ = _told(session, batches)
        pruned = reconciler.prune()
    if pruned:
        session.say(f"{pruned:,} order ids that were reserved long ago are forgotten.")
    session.say(f"{compared:,} payments compared: {f'{differ:,} differ' if differ else 'nothing differs'}.")
    if differ:
        ctx.exit(1)


def _reconciler(runtime: Runtime, *, fix: bool) -> Reconciler:
    return Reconciler(
        ledger=runtime.services.ledger,
        gateway=runtime.gateway,
        standings=StandingReads(runtime.views),
        reservations=Reservations(runtime.database),
        clock=utc_now,
        run_id=f"reconcile-{uuid4()}",
        fix=fix,
    )


def _told(session: Session, batches: Iterator[Batch]) -> tuple[int, int]:
    """Prints the findings as they come; returns how many payments were compared, and how many (still) differ."""
    compared = differ = 0
    for batch in _watched(session, batches):
        compared += batch.compared
        for finding in batch.findings:
            click.echo(_line(finding))
            differ += finding.differs
    return compared, differ


def _line(finding: Finding) -> str:
    return f"order {finding.order_id}, {finding.intent_id}: {finding.what} ({finding.remedy})"


def _watched(session: Session, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, with progress on stderr: nobody knows how many payments a gateway has before the last one."""
    if sys.stderr.isatty() and not session.quiet:
        columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} payments compared"), TimeElapsedColumn())
        # Findings go through it where it would be drawn over them, and past it into files and pipes.
        shared = sys.stdout.isatty()
        with Progress(*columns, console=Console(stderr=True), redirect_stdout=shared) as progress:
            task = progress.add_task("payments", total=None)
            for batch in batches:
                progress.advance(task, batch.compared)
                yield batch
        return
    compared = said = 0
    for batch in batches:
        yield batch
        compared += batch.compared
        if compared - said >= _LINES_EVERY:
            said = compared
            session.say(f"{compared:,} payments compared")
