"""Settings that make no sense stop the start with one clear line."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ledger.errors import SettingsError
from ledger.settings import SETTINGS, Settings

WEBHOOK_SECRET = "whsec_0123456789abcdef0123456789abcdef"


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
        ("LEDGER_RATE_LIMIT_USER", "600"),
        ("LEDGER_RATE_LIMIT_USER", "0/minute"),
        ("LEDGER_RATE_LIMIT_ADDRESS", "600/fortnight"),
        ("LEDGER_RATE_LIMIT_STORE", "redis"),
        ("LEDGER_PROXIES", "-1"),
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
        ("STRIPE_LOG", "debug"),
        ("STRIPE_SECRET_KEY", "pk_test_0123456789"),
        ("STRIPE_SECRET_KEY", "sk_test_"),
        ("STRIPE_SECRET_KEY", "sk_test_a b"),
        ("STRIPE_WEBHOOK_SECRET", "0123456789abcdef0123456789abcdef"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_short"),
        ("STRIPE_WEBHOOK_SECRET", f"{WEBHOOK_SECRET},"),
        ("STRIPE_WEBHOOK_SECRET", f"{WEBHOOK_SECRET},{WEBHOOK_SECRET},{WEBHOOK_SECRET}"),
        ("LEDGER_STRIPE_API_BASE", "api.stripe.com"),
        ("LEDGER_STRIPE_TIMEOUT", "0"),
        ("LEDGER_STRIPE_TIMEOUT", "61"),
    ],
)
def test_nonsense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refusal:
        Settings.from_env({name: value})
    assert "\n" not in str(refusal.value)


def test_stripe_is_chosen_by_its_key() -> None:
    assert Settings.from_env({}).stripe_secret_key is None
    settings = Settings.from_env({"STRIPE_SECRET_KEY": "rk_live_0123456789abcdef"})
    assert settings.stripe_live
    assert (settings.stripe_api_base, settings.stripe_timeout) == ("https://api.stripe.com", 10)
    assert not Settings.from_env({"STRIPE_SECRET_KEY": "sk_test_0123456789abcdef"}).stripe_live


def test_two_webhook_secrets_while_they_are_changed() -> None:
    old, new = f"{WEBHOOK_SECRET}0", f"{WEBHOOK_SECRET}1"
    assert Settings.from_env({}).stripe_webhook_secrets == ()
    assert Settings.from_env({"STRIPE_WEBHOOK_SECRET": old}).stripe_webhook_secrets == (old,)
    assert Settings.from_env({"STRIPE_WEBHOOK_SECRET": f"{old}, {new}"}).stripe_webhook_secrets == (old, new)


def test_a_live_key_is_not_sent_in_the_clear() -> None:
    environ = {"LEDGER_STRIPE_API_BASE": "http://127.0.0.1:1/"}
    assert Settings.from_env(environ).stripe_api_base == "http://127.0.0.1:1"
    with pytest.raises(SettingsError, match="LEDGER_STRIPE_API_BASE"):
        Settings.from_env(environ | {"STRIPE_SECRET_KEY": "sk_live_0123456789abcdef"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("STRIPE_SECRET_KEY", "sk_planted_0123456789"), ("STRIPE_WEBHOOK_SECRET", "whsec_planted")],
)
def test_a_secret_that_is_refused_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({name: value})
    assert "planted" not in str(refusal.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_env({"LEDGER_JWT_SECRET": "s" * 32, "LEDGER_DATABASE_URL": "postgresql://u:pw@h/d"})
    assert "ssss" not in repr(settings)
    assert "pw" not in repr(settings)
