"""``bench``: the side-by-side benchmarks, which live beside the packages in a checkout and are not installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from ledger.errors import SettingsError
from scripts.context import Session, pass_session

_CHECKOUT = Path(__file__).resolve().parents[1]
_PARTS = ("appends", "http", "growth", "rebuild", "console")
_DEFAULT_OUT = Path("var", "bench")
_SERVER = "LEDGER_TEST_DATABASE_URL"


@click.command("bench")
@click.option("--quick", is_flag=True, help="One short round of each: to see that it works, not how fast it is.")
@click.option("--full", is_flag=True, help="Also a rebuild of five million events: an hour more.")
@click.option(
    "--only",
    type=click.Choice(_PARTS),
    multiple=True,
    metavar="PART",
    help="appends, http, growth, rebuild or console; all by default.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=_DEFAULT_OUT,
    show_default=True,
    metavar="DIR",
    help="Where results.json, results.md and results.png go.",
)
@pass_session
def bench(session: Session, quick: bool, full: bool, only: tuple[str, ...], out: Path) -> None:
    """Measure appends, HTTP, growth and rebuilds, side by side with peers, and the console's pages.

    Takes an hour, and a quiet machine. A PostgreSQL server is started for it, or the one that LEDGER_TEST_DATABASE_URL
    names is used.
    """
    paths = _harness().run(
        quick=quick,
        full=full,
        only=only or _PARTS,
        out=out,
        command=_command(quick, full, only, out),
        server_url=session.environ.get(_SERVER) or None,
        say=session.say,
    )
    for path in paths:
        click.echo(path)


def _harness() -> Any:
    """The harness, imported only now: it is neither installed nor needed by any other command."""
    if not (_CHECKOUT / "benchmarks" / "run.py").is_file():
        raise SettingsError("bench runs from a checkout: this installation has no benchmarks folder")
    if str(_CHECKOUT) not in sys.path:
        sys.path.insert(0, str(_CHECKOUT))
    try:
        return importlib.import_module("benchmarks.run")
    except ImportError as error:
        raise SettingsError(f"bench needs the bench extra (order-ledger[bench]): {error}") from error


def _command(quick: bool, full: bool, only: tuple[str, ...], out: Path) -> str:
    flags = [flag for flag, given in (("--quick", quick), ("--full", full)) if given]
    words = ["order-ledger bench", *flags, *(f"--only {part}" for part in only)]
    return " ".join([*words, *([] if out == _DEFAULT_OUT or out.is_absolute() else [f"--out {out}"])])
