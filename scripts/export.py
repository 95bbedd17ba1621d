"""``export`` and ``import``: the log as a file of JSON lines, and back."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from ledger.errors import MalformedProof, NotRestorable
from ledger.storage import Cursor
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.lines import decode_line, encode_line
from ledger.transparency.notes import Note
from projections.restore import restore
from projections.tree import latest_note
from scripts.bootstrap import build
from scripts.context import Session, pass_session
from scripts.files import whole_file
from scripts.parquet import export_parquet

STDOUT = Path("-")
_BATCH = 1000
_FASTEST = 1


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--parquet",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Instead of FILE: events and orders as Parquet files, by month, in a new directory.",
)
@pass_session
def export(session: Session, file: Path | None, directory: Path | None) -> None:
    """Write the log to FILE as JSON lines (gzip when it ends in .gz, - for stdout), its latest checkpoint beside it."""
    if (file is None) == (directory is None):
        raise click.UsageError("Name a FILE, or --parquet DIR.")
    if directory is not None:
        export_parquet(session, directory)
    elif file is not None:
        _export_lines(session, file)


def _export_lines(session: Session, file: Path) -> None:
    with build(session.settings) as runtime:
        runtime.require_ready()
        with runtime.database.snapshot() as cursor:
            if file == STDOUT:
                _write(cursor, sys.stdout.buffer)
                return
            with whole_file(file) as target:
                count = _write_compressed(cursor, target) if is_compressed(file) else _write(cursor, target)
            note = latest_note(cursor)
    if note is not None:
        with whole_file(checkpoint_of(file)) as target:
            target.write(note.encode())
    beside = "no checkpoint: none was signed yet" if note is None else f"a checkpoint in {checkpoint_of(file)}"
    session.say(f"{count:,} events were exported to {file}, with {beside}.")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_session
def import_(session: Session, file: Path) -> None:
    """Restore the log in FILE into an empty ledger, with all positions and bytes; all of it or nothing."""
    checkpoint = checkpoint_beside(file)
    with build(session.settings) as runtime:
        runtime.migrate()
        count = restore(runtime.database, read_events(file), checkpoint)
    session.say(f"{count:,} events were imported. Client secrets of payments are not in a log: see docs/audit.md.")


def is_compressed(file: Path) -> bool:
    """Whether a file of this name is compressed."""
    return file.suffix == ".gz"


def checkpoint_of(file: Path) -> Path:
    """Where the checkpoint of an exported file is kept."""
    return file.with_name(f"{file.name}.checkpoint")


def checkpoint_beside(file: Path) -> Checkpoint | None:
    """What the checkpoint beside the file says, whoever signed it; ``None`` where there is none."""
    path = checkpoint_of(file)
    return Checkpoint.parse(Note.parse(path.read_bytes()).text) if path.exists() else None


def read_events(file: Path) -> Iterator[RecordedEvent]:
    """The events of an exported file, one by one. Raises NotRestorable, which says the line, for what is none."""
    for number, line in enumerate(read_lines(file), 1):
        try:
            yield decode_line(line)
        except MalformedProof as error:
            raise NotRestorable(f"{file}: line {number}: {error}") from error


def read_lines(file: Path) -> Iterator[str]:
    """The lines of a file, compressed when its name says so. Raises NotRestorable when it can't be read to its end."""
    number = 0
    try:
        with _opened(file) as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith("\n"):
                    raise NotRestorable(f"{file}: line {number} is cut off.")
                yield line
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise NotRestorable(f"{file} can't be read after line {number}: {error}.") from error


def _opened(file: Path) -> TextIO:
    if is_compressed(file):
        return gzip.open(file, "rt", encoding="utf-8", newline="\n")
    return file.open(encoding="utf-8", newline="\n")


def _write_compressed(cursor: Cursor, target: BinaryIO) -> int:
    # No name and no time in the file: the same log makes the same bytes.
    with gzip.GzipFile("", "wb", _FASTEST, target, mtime=0) as compressed:
        return _write(cursor, compressed)


def _write(cursor: Cursor, target: BinaryIO | gzip.GzipFile) -> int:
    count, events = 0, read_log(cursor)
    while lines := [encode_line(event) for event in islice(events, _BATCH)]:
        target.write("".join(lines).encode())
        count += len(lines)
    return count
