"""Settings that make no sense stop the start with one clear line."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ledger.errors import SettingsError
from ledger.settings import SETTINGS, Settings


def test_the_defaults_are_those_that_are_listed() -> None:
    settings = Settings.from_env({})
    assert settings.database_url == "sqlite:///var/ledger.db"
    assert (settings.env, settings.bind, settings.currency) == ("development", "127.0.0.1:8000", "usd")
    assert len(SETTINGS) == len(fields(Settings))
    assert Settings.from_env({setting.name: setting.default for setting in SETTINGS}) == settings


@pytest.mark.parametrize(
    "url", ["sqlite:////abs/x.db", "sqlite:///:memory:", "postgresql://u@h/d", "postgres:///d?host=/run/pg"]
)
def test_database_urls(url: str) -> None:
    assert Settings.from_env({"LEDGER_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_ENV", "staging"),
        ("LEDGER_DATABASE_URL", "mysql://x"),
        ("LEDGER_DATABASE_URL", "sqlite:///"),
        ("LEDGER_JWT_SECRET", "short"),
        ("LEDGER_JWT_JWKS_URL", "file:///etc/passwd"),
        ("LEDGER_JWT_JWKS_URL", "https://["),
        ("LEDGER_JWT_JWKS_URL", "https://host:99999/"),
        ("LEDGER_JWT_LEEWAY", "-1"),
        ("LEDGER_JWT_LEEWAY", "301"),
        ("LEDGER_CURRENCY", "USD"),
        ("LEDGER_CURRENCY", "jpy"),
        ("LEDGER_BIND", "8000"),
        ("LEDGER_WORKERS", "0"),
        ("LEDGER_WORKERS", "1.5"),
        ("LEDGER_THREADS", "٤"),
        ("LEDGER_DB_POOL_SIZE", "x"),
        ("LEDGER_DB_TIMEOUT", "nan"),
        ("LEDGER_DB_TIMEOUT", "0"),
        ("LEDGER_LOG_LEVEL", "loud"),
        ("LEDGER_WORKER", "2"),
        ("POSTGRES_ENABLE_DB_FUNCTIONS", "y"),
    ],
)
def test_nonsense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refusal:
        Settings.from_env({name: value})
    assert "\n" not in str(refusal.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_env({"LEDGER_JWT_SECRET": "s" * 32, "LEDGER_DATABASE_URL": "postgresql://u:pw@h/d"})
    assert "ssss" not in repr(settings)
    assert "pw" not in repr(settings)
