from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from ledger.settings import SETTINGS
from scripts.context import Session
from scripts.settings_cmd import settings, without_password

SECRET = "this is a secret of more than 32 bytes"
ENVIRON = {
    "LEDGER_JWT_SECRET": SECRET,
    "LEDGER_DATABASE_URL": "postgresql://ledger:hunter2@db.example/ledger",
    "LEDGER_WORKERS": "3",
}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(settings, arguments, obj=Session(ENVIRON))
    assert result.exit_code == 0
    return result.output


def test_every_setting_is_listed_with_its_meaning() -> None:
    listing = run()

    for setting in SETTINGS:
        assert setting.name in listing
        assert setting.meaning in listing


def test_json_has_default_value_and_meaning() -> None:
    listing = json.loads(run("--json"))

    assert list(listing) == [setting.name for setting in SETTINGS]
    assert listing["LEDGER_WORKERS"]["value"] == "3"
    assert listing["LEDGER_THREADS"]["value"] is None
    assert listing["LEDGER_THREADS"]["default"] == "16"


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_secret_is_shown(arguments: tuple[str, ...]) -> None:
    listing = run(*arguments)

    assert SECRET not in listing
    assert "hunter2" not in listing
    assert "postgresql://ledger:***@db.example/ledger" in listing


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///var/ledger.db", "sqlite:///var/ledger.db"),
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgresql://u:p%40:ss@db/x", "postgresql://u:***@db/x"),
        ("postgresql:///x?host=/run&password=hunter2&user=u", "postgresql:///x?host=/run&password=***&user=u"),
        ("postgresql://u:p@ss@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:p ss@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:p/ss?w@db/x", "postgresql://u:***@db/x"),
        ("http://db:8000/x?who=a@b", "http://db:8000/x?who=a@b"),
        ("postgresql://u@db:5432/x?password=hunter2", "postgresql://u@db:5432/x?password=***"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, shown: str) -> None:
    assert without_password(url) == shown
