"""``seed``: synthetic orders with believable histories; the same seed makes the same histories."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import click
from rich.console import Console
from rich.progress import Progress

from ledger.errors import SettingsError
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session
from scripts.sowing import Sower

_LINES_EVERY = 5_000


@click.command("seed")
@click.option("--orders", type=WholeNumber(1, 100_000_000), required=True, metavar="N", help="How many to make.")
@click.option(
    "--seed", "seed_number", type=int, default=1, show_default=True, help="The same seed, the same histories."
)
@click.option("--users", type=WholeNumber(1, 1_000_000), default=100, show_default=True, help="Users who order.")
@pass_session
def seed(session: Session, orders: int, seed_number: int, users: int) -> None:
    """Append synthetic orders with believable histories. Not in production."""
    settings = session.settings
    if settings.env == "production":
        raise SettingsError("seed makes orders up, so it does not run with LEDGER_ENV=production")
    with build(settings) as runtime:
        runtime.require_sandbox("seed")
        runtime.migrate()
        _report(session, _sower(runtime, seed_number, users).sow(orders), orders)
    session.say(f"{orders:,} {'order was' if orders == 1 else 'orders were'} added.")


def _sower(runtime: Runtime, seed_number: int, users: int) -> Sower:
    return Sower(
        ledger=runtime.services.ledger,
        database=runtime.database,
        catalogue=runtime.services.catalogue,
        currency=runtime.settings.currency,
        rng=random.Random(seed_number),  # noqa: S311 - histories, not secrets
        users=users,
    )


def _report(session: Session, batches: Iterator[int], orders: int) -> None:
    if sys.stderr.isatty() and not session.quiet:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("orders", total=orders)
            for count in batches:
                progress.advance(task, count)
        return
    done = said = 0
    for count in batches:
        done += count
        if done - said >= _LINES_EVERY and done < orders:
            said = done
            session.say(f"{done:,} of {orders:,} orders")
