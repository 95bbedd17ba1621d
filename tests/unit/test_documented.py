"""Nothing that users touch is undocumented: routes, commands, options, settings, event types, problem types."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from api.problem_types import PROBLEM_TYPES
from ledger.events import EVENT_TYPES, Event
from ledger.settings import SETTINGS, Settings
from projections.webhooks.payloads import TYPES
from scripts.bootstrap import build
from scripts.cli import main
from tests.support.cli import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
AUDIT = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
CONSOLE = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
WEBHOOKS = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(commands(main))


def routes() -> list[str]:
    environ = {"LEDGER_DATABASE_URL": "sqlite:///:memory:", "LEDGER_JWT_SECRET": "x" * 32}
    with build(Settings.from_env(environ)) as runtime:
        rules = list(runtime.app().url_map.iter_rules())
    return [
        f"{method} {re.sub('<[^>]*>', '{}', rule.rule)}"
        for rule in rules
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


@pytest.mark.parametrize("route", routes())
def test_every_route_is_in_the_readme(route: str) -> None:
    method, path = route.split(" ")
    documented = {
        re.sub(r"\{[^}]*\}", "{}", found) for found in re.findall(r"`((?:[A-Z]+ )?/[^`?]*)`", README + CONSOLE)
    }

    assert f"{method} {path}" in documented or (path.startswith("/docs/") and path in documented)


def row_of(command: str) -> str:
    rows = [line for line in README.splitlines() if re.match(rf"\| `{command}[ `]", line)]
    assert len(rows) == 1, f"{command} needs one row in the README's table of commands"
    return rows[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_with_all_its_options(name: str) -> None:
    row = row_of(name)

    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in row
        else:
            assert str(parameter.name).upper() in row


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_explains_itself(name: str) -> None:
    command = COMMANDS[name]

    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help or parameter.name == "role"


@pytest.mark.parametrize("parameter", [each for each in main.params if each.name != "help"], ids=lambda each: each.name)
def test_every_option_of_all_commands_is_in_the_readme(parameter: click.Parameter) -> None:
    assert f"`order-ledger {parameter.opts[0]}" in README


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_in_the_readme_as_it_is(setting: object) -> None:
    name, default, meaning = (getattr(setting, field) for field in ("name", "default", "meaning"))

    assert f"| `{name}` | {f'`{default}`' if default else '-'} | {meaning} |" in README


def test_no_setting_or_command_is_documented_that_is_not_there() -> None:
    known = {setting.name for setting in SETTINGS} | {"LEDGER_TEST_DATABASE_URL", "LEDGER_"}
    mentioned = set(re.findall(r"LEDGER_[A-Z_]*", README + OPERATIONS + FORMATS + AUDIT + WEBHOOKS))
    run = set(re.findall(r"order-ledger ((?:webhooks )?[a-z]+)", README + OPERATIONS + FORMATS + AUDIT + WEBHOOKS))

    assert mentioned <= known
    assert run <= set(COMMANDS)


@pytest.mark.parametrize("event", EVENT_TYPES, ids=lambda event: event.TOPIC)
def test_every_event_type_is_in_the_formats_with_all_its_members(event: type[Event]) -> None:
    section = FORMATS.partition(f"### `{event.TOPIC}`")[2].partition("\n### ")[0]

    envelope = FORMATS.partition("## Events")[2].partition("\n### ")[0]
    for member in (field.name for field in dataclasses.fields(event)):
        if member not in {"originator_id", "originator_version"}:
            assert f"`{member}`" in section + envelope


def test_links_between_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert Path(document.parent, target).exists(), f"{document.name} links to {target}"


def test_the_readme_says_where_all_problem_types_are() -> None:
    assert "api/problem_types.py" in README
    for slug in re.findall(r"/problems/([a-z-]+)`", README):
        assert slug in PROBLEM_TYPES


@pytest.mark.parametrize("type_", TYPES.values())
def test_every_type_of_webhook_is_documented(type_: str) -> None:
    assert f"| `{type_}` |" in WEBHOOKS


def test_every_picture_of_the_console_is_shown_and_every_one_shown_is_there() -> None:
    shown = set(re.findall(r"\(console/([^)]+\.png)\)", CONSOLE))

    assert shown == {file.name for file in (ROOT / "docs" / "console").iterdir()}
