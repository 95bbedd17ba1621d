"""What every command gets: the settings, how much to say, and where to say it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ledger.settings import Settings


class WholeNumber(click.IntRange):
    """A whole number within bounds, and of what, which a refusal says along with what was given."""

    def __init__(self, low: int, high: int | None = None, *, unit: str = "") -> None:
        super().__init__(low, high)
        bounds = f"from {low} to {high}" if high else f"of {low} or more"
        self._expected = f"a whole number{f' of {unit}' if unit else ''} {bounds}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; refuses anything else."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not {self._expected}.", param, ctx)


ORDER_ID = WholeNumber(1, 2**63 - 1)


@dataclass
class Session:
    """One run of the command line. Results go to stdout, all other talk to stderr."""

    environ: Mapping[str, str]
    quiet: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings, read when first asked for; raises SettingsError."""
        return Settings.from_env(self.environ)

    def show(self, table: Table) -> None:
        """A table on stdout: as wide as the terminal, and wide enough to be read by programs in a pipe. Nothing of it
        is cut off: what is longer than its column goes on below."""
        for column in table.columns:
            column.overflow = "fold"
        # What clients chose, as an Idempotency-Key, is shown as it is: "[b]" and ":cat:" mean nothing here.
        width = None if sys.stdout.isatty() else 200
        console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
        with console.capture() as rendered:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in rendered.get().splitlines()))

    def say(self, line: str) -> None:
        """A line for a person who watches; nothing with ``--quiet``."""
        if not self.quiet:
            click.echo(line, err=True)


pass_session = click.make_pass_decorator(Session)
