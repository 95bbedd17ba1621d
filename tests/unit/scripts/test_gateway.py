"""Which gateway is chosen, and what is said of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import SettingsError
from ledger.payments.sandbox import SandboxGateway
from ledger.settings import Settings
from scripts.bootstrap import build
from scripts.gateway import described, warnings_about
from tests.support.cli import ROOT
from tests.support.stripe_server import SECRET_KEY, WEBHOOK_SECRET

LIVE_KEY = "sk_live_planted0123456789abcdef"
HOOK = {"STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
TEST = {"STRIPE_SECRET_KEY": SECRET_KEY}
LIVE = {"STRIPE_SECRET_KEY": LIVE_KEY}


def settings_of(tmp_path: Path, **environ: str) -> Settings:
    base = {"LEDGER_VAR_DIR": str(tmp_path), "LEDGER_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
    return Settings.from_env(base | environ)


def test_without_a_key_it_is_the_sandbox(tmp_path: Path) -> None:
    with build(settings_of(tmp_path)) as runtime:
        assert isinstance(runtime.gateway, SandboxGateway)
        assert runtime.require_sandbox("pay") is runtime.sandbox is runtime.gateway
        assert runtime.services.webhooks is None


def test_with_a_key_it_is_stripe_and_nothing_is_asked_of_it(tmp_path: Path) -> None:
    with build(settings_of(tmp_path, **TEST, **HOOK)) as runtime:
        assert type(runtime.gateway).__name__ == "StripeGateway"
        assert runtime.services.webhooks is not None
        with pytest.raises(SettingsError, match=r"pay .*sandbox"):
            runtime.require_sandbox("pay")


@pytest.mark.parametrize(("environ", "loaded"), [({}, False), (TEST, True)])
def test_the_stripe_library_is_loaded_only_for_stripe(tmp_path: Path, environ: dict[str, str], loaded: bool) -> None:
    program = (
        "import os, sys; from ledger.settings import Settings; from scripts.bootstrap import build;"
        "runtime = build(Settings.from_env(os.environ)); runtime.app(); print('stripe' in sys.modules)"
    )
    env = {"LEDGER_DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "LEDGER_JWT_SECRET": "x" * 32, **environ}
    ran = subprocess.run((sys.executable, "-c", program), env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{loaded}\n"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, []),
        ({"LEDGER_ENV": "production"}, ["do not use it for real sales"]),
        ({"LEDGER_ENV": "production", **LIVE, **HOOK}, []),
        ({"LEDGER_ENV": "production", **TEST, **HOOK}, ["a key of Stripe's test mode"]),
        ({**TEST, **HOOK}, []),
        ({**LIVE, **HOOK}, ["a live key"]),
        (TEST, ["no webhooks are taken"]),
    ],
)
def test_what_an_operator_should_hear(tmp_path: Path, environ: dict[str, str], expected: list[str]) -> None:
    warnings = list(warnings_about(settings_of(tmp_path, **environ)))
    assert len(warnings) == len(expected)
    assert all(part in warning for part, warning in zip(expected, warnings, strict=True))
    assert not [warning for warning in warnings if "planted" in warning or "\n" in warning]


def test_the_gateway_in_words(tmp_path: Path) -> None:
    assert described(settings_of(tmp_path)) == "the embedded sandbox gateway, which moves no money"
    live = described(settings_of(tmp_path, **LIVE))
    assert live == "Stripe at https://api.stripe.com in live mode; no webhooks are taken"
    base = "http://user:hunter2@127.0.0.1:1"
    test = described(settings_of(tmp_path, **TEST, **HOOK, LEDGER_STRIPE_API_BASE=base))
    assert test == "Stripe at http://user:***@127.0.0.1:1 in test mode, in which no money moves; webhooks are taken"
