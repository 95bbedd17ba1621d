"""``reconcile``: compares the ledger with the payment gateway, from both sides, and with --fix mends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import NamedTuple
from uuid import uuid4

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ledger.clock import utc_now
from ledger.errors import SettingsError
from ledger.payments.findings import Batch, Finding
from ledger.payments.reconcile import EVER, Reconciler
from ledger.storage.reservations import Reservations
from projections.standings import StandingReads
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session
from scripts.gateway import described

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
    """Compare the orders with the payment gateway, both ways; exit 1 when something differs and is not mended, or when
    money has to go back.

    Safe to run at any time.
    """
    if everything and days is not None:
        raise click.UsageError("--days and --all exclude each other.")
    since = EVER if everything else utc_now() - timedelta(days=days or _DAYS)
    settings = session.settings
    if fix and settings.env == "production" and settings.stripe_secret_key is None:
        raise SettingsError("reconcile --fix in production needs STRIPE_SECRET_KEY: without it, it asks the sandbox")
    session.say(f"Comparing with {described(settings)}.")
    with build(settings) as runtime:
        runtime.require_ready()
        reconciler = _reconciler(runtime, fix=fix)
        batches = chain(
            reconciler.intents(since), reconciler.disputes(since), reconciler.orders(since), reconciler.owing()
        )
        told = _told(session, batches)
        pruned = reconciler.prune()
    if pruned:
        session.say(f"{pruned:,} order ids that were reserved long ago are forgotten.")
    differ = "1 differs" if told.differ == 1 else f"{told.differ:,} differ" if told.differ else "nothing differs"
    refunds = f", {told.refunds:,} to be refunded" if told.refunds else ""
    session.say(f"{told.compared:,} payments compared: {differ}{refunds}.")
    if told.differ or told.refunds:
        ctx.exit(1)


def _reconciler(runtime: Runtime, *, fix: bool) -> Reconciler:
    return Reconciler(
        ledger=runtime.services.ledger,
        gateway=runtime.gateway,
        standings=StandingReads(runtime.database),
        reservations=Reservations(runtime.database),
        clock=utc_now,
        run_id=f"reconcile-{uuid4()}",
        fix=fix,
    )


class _Told(NamedTuple):
    """How many payments were compared, how many findings (still) differ, and how many say that money has to go back."""

    compared: int
    differ: int
    refunds: int


def _told(session: Session, batches: Iterator[Batch]) -> _Told:
    """Prints the findings as they come, and counts."""
    compared = differ = refunds = 0
    for batch in _watched(session, batches):
        compared += batch.compared
        for finding in batch.findings:
            click.echo(_line(finding))
            differ += finding.differs
            refunds += finding.needs_refund
    return _Told(compared, differ, refunds)


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
