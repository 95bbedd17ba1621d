"""What every command gets: the settings, how much to say, and where to say it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import click
from rich.console import Console
from rich.table import Table

from ledger.settings import Settings


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
        """A table on stdout: as wide as the terminal, and wide enough to be read by programs in a pipe."""
        console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)
        with console.capture() as rendered:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in rendered.get().splitlines()))

    def say(self, line: str) -> None:
        """A line for a person who watches; nothing with ``--quiet``."""
        if not self.quiet:
            click.echo(line, err=True)


pass_session = click.make_pass_decorator(Session)
