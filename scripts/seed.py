"""``seed``: synthetic orders with believable histories; the same seed makes the same histories."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ledger.errors import SettingsError
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session
from scripts.sowing import Sower
from scripts.watching import watching

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
        with _seldom_collecting(), watching(session, orders, "orders", every=_LINES_EVERY) as advance:
            for count in _sower(runtime, seed_number, users).sow(orders):
                advance(count)
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


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Thousands of objects live until their batch is written, none in a cycle: the collector looks at them in vain."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
