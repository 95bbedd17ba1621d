"""``settings``: every setting with its default, its present value and its meaning."""

from __future__ import annotations

import json
import re

import click
from rich.table import Table

from ledger.settings import SETTINGS
from ledger.settings_reader import Setting
from scripts.context import Session, pass_session

_MASK = "***"
_URL_PASSWORD = re.compile(r"(://[^:/@?]*:)(?!\d*(?:[/?]|$))(?s:.*)(@)|([?&]password=)[^&]*")
"""Also where it has a slash or the like, which had to be escaped: such a URL is none, and is shown all the same."""


def shown(setting: Setting, value: str | None) -> str | None:
    """A value as it may be shown: secrets, and passwords inside URLs, are masked."""
    if not value:
        return None
    if setting.secret:
        return _MASK
    return without_password(value)


def without_password(url: str) -> str:
    """A database URL (or anything else) that may be shown."""
    return _URL_PASSWORD.sub(lambda found: f"{found[1] or found[3]}{_MASK}{found[2] or ''}", url)


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, by name.")
@pass_session
def settings(session: Session, as_json: bool) -> None:
    """List every setting with its default, present value and meaning."""
    rows = [(setting, shown(setting, session.environ.get(setting.name))) for setting in SETTINGS]
    if as_json:
        listing = {
            setting.name: {
                "default": setting.default,
                "value": value,
                "meaning": setting.meaning,
                "secret": setting.secret,
            }
            for setting, value in rows
        }
        click.echo(json.dumps(listing, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Setting", "Default", "Set to"):
        table.add_column(column, no_wrap=True)
    table.add_column("Meaning")
    for setting, value in rows:
        # A key in PEM form has many lines, of which the first tells enough.
        table.add_row(setting.name, setting.default or "-", (value or "-").splitlines()[0], setting.meaning)
    session.show(table)
