"""``check``: whether the views are what the log makes of them, and the log is whole."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator

import click

from ledger.clock import utc_now
from projections.check import check as check_all
from projections.checks import EVERYTHING, SAMPLE, note_check
from projections.compare import Finding
from projections.sample import check_sample
from scripts.bootstrap import Runtime, build
from scripts.context import Session, WholeNumber, pass_session
from scripts.watching import watching

_SHOWN = 20
"""Findings shown of one kind: enough to see the pattern."""

_LINES_EVERY = 500_000
_SAMPLE_LINES_EVERY = 1_000


def told(findings: Iterable[Finding]) -> Iterator[str]:
    """The findings in words as they come, and in the end how many more there were of those that were too many."""
    counts: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        counts[finding.subject, finding.kind] += 1
        if counts[finding.subject, finding.kind] <= _SHOWN:
            yield str(finding)
    for (subject, kind), count in counts.items():
        if count > _SHOWN:
            yield f"{subject}: and {count - _SHOWN:,} more ({kind})"


@click.command("check")
@click.argument("view", required=False)
@click.option(
    "--sample",
    type=WholeNumber(1, 10_000_000),
    metavar="N",
    help="Replay and compare N streams only, drawn at random.",
)
@click.option(
    "--seed", "seed_number", type=int, metavar="S", help="With --sample: the same seed draws the same streams."
)
@click.pass_context
@pass_session
def check(session: Session, ctx: click.Context, view: str | None, sample: int | None, seed_number: int | None) -> None:
    """Compare the views, or one VIEW, with a fresh replay, and the log with its rules; exit 1 with a diff."""
    if sample is None and seed_number is not None:
        raise click.UsageError("--seed goes with --sample.")
    if sample is not None and view is not None:
        raise click.UsageError("VIEW and --sample exclude each other.")
    with build(session.settings) as runtime:
        runtime.require_ready()
        head = runtime.services.health.head()
        found = Counter[str]()
        if sample is None:
            findings = _checked(session, runtime, view, head)
        else:
            findings = _sampled(session, runtime, sample, seed_number)
        for line in told(_counted(findings, found)):
            click.echo(line)
        subject = SAMPLE if sample is not None else view or EVERYTHING
        note_check(runtime.database, subject, utc_now(), head, found.total())
    if found:
        ctx.exit(1)
    session.say("Nothing differs.")


def _counted(findings: Iterable[Finding], found: Counter[str]) -> Iterator[Finding]:
    for finding in findings:
        found[finding.subject] += 1
        yield finding


def _checked(session: Session, runtime: Runtime, view: str | None, head: int) -> Iterator[Finding]:
    """Differences are told as the view's replayed value after the live one."""
    with watching(session, head, "events replayed", every=_LINES_EVERY) as advance:
        yield from check_all(runtime.database, only=view, tell=advance)


def _sampled(session: Session, runtime: Runtime, count: int, seed_number: int | None) -> Iterator[Finding]:
    seed = secrets.randbelow(2**32) if seed_number is None else seed_number
    session.say(f"The sample is that of --seed {seed}.")
    rng = random.Random(seed)  # noqa: S311 - to look at, not to keep secret
    with watching(session, count, "streams compared", every=_SAMPLE_LINES_EVERY) as advance:
        yield from check_sample(runtime.database, count, rng, tell=advance)
