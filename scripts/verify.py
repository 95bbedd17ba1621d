"""``verify``: the log of a database, or an exported one, against its rules, its tree and its checkpoints."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from ledger.errors import MalformedProof
from ledger.transparency.keys import VerifierKey
from projections.verify import Notes, Verdict, verify_database, verify_lines
from scripts.bootstrap import build
from scripts.context import Session, pass_session
from scripts.export import checkpoint_of, read_lines
from scripts.log_keys import verifier_keys

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def verifier_keys_option(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> list[VerifierKey]:
    """The keys of values that are one, or the name of a file with one on each line."""
    keys: list[VerifierKey] = []
    for value in values:
        try:
            keys.extend(verifier_keys(value))
        except (MalformedProof, OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{value[:100]!r} is neither a verifier key nor a file of them.") from error
    return keys


@click.command("verify")
@click.option("--export", "file", type=_FILE, metavar="FILE", help="Verify an exported log, and ask no database.")
@click.option(
    "--key",
    "keys",
    callback=verifier_keys_option,
    multiple=True,
    metavar="KEY",
    help="A verifier key, or a file of them. Repeatable.",
)
@click.option(
    "--checkpoint",
    "files",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A checkpoint kept from before. Repeatable.",
)
@click.option(
    "--witness",
    "witnesses",
    callback=verifier_keys_option,
    multiple=True,
    metavar="KEY",
    help="A witness's key, or a file of them: it must have cosigned a checkpoint. Repeatable.",
)
@click.pass_context
@pass_session
def verify(
    session: Session,
    ctx: click.Context,
    *,
    file: Path | None,
    keys: list[VerifierKey],
    files: Sequence[Path],
    witnesses: list[VerifierKey],
) -> None:
    """Find any event that was altered, dropped, reordered or inserted; exit 1 when there is one, saying which."""
    if file is not None and not keys:
        raise click.UsageError("--export needs the --key that the log's checkpoints are signed with.")
    notes = [(str(path), path.read_bytes()) for path in files]
    with _without_collector():
        if file is None:
            verdict = _of_database(session, notes, keys, witnesses)
        else:
            verdict = _of_file(file, notes, keys, witnesses)
    _tell(session, verdict)
    if not verdict.findings.sound:
        ctx.exit(1)


@contextmanager
def _without_collector() -> Iterator[None]:
    """An audit makes no cycles, and looking for them among a million orders takes a sixth of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _of_file(file: Path, notes: Notes, keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey]) -> Verdict:
    beside = checkpoint_of(file)
    latest = [(str(beside), beside.read_bytes())] if beside.exists() else []
    verdict = verify_lines(read_lines(file), [*notes, *latest], keys, witnesses)
    if not notes and not latest:
        verdict.findings.add([f"there is no checkpoint {beside}: nothing is signed"])
    return verdict


def _of_database(
    session: Session, notes: Notes, keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey]
) -> Verdict:
    with build(session.settings) as runtime:
        runtime.require_ready()
        return verify_database(runtime.database, notes, keys, witnesses)


def _tell(session: Session, verdict: Verdict) -> None:
    findings = verdict.findings
    for fault in findings.faults:
        click.echo(f"wrong: {fault}")
    if findings.more:
        click.echo(f"wrong: and {findings.more} more")
    if not session.quiet:
        for line in [*(f"note: {remark}" for remark in findings.remarks), *verdict.lines()]:
            click.echo(line)
        click.echo("sound" if findings.sound else "not sound")
