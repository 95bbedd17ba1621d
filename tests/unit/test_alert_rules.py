"""Each alert rule fires at what it is for, and at nothing else: asked of Prometheus's own promtool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.cli import ROOT

RULES = ROOT / "docs" / "monitoring" / "alerts.yml"
pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None and "CI" not in os.environ, reason="promtool is not installed"
)

_MINUTES = 240
_FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'
_ON = 'job="order-ledger",instance="ledger:8000"'


def steady(value: int) -> str:
    return f"{value}x{_MINUTES}"


def rising(a_minute: int, start: int = 0) -> str:
    return f"{start}+{a_minute}x{_MINUTES}"


def spoken(name: str, **labels: str) -> str:
    """A series of the one server that there is, as promtool wants it."""
    return f"{name}{{{','.join([_ON, *(f'{label}={json.dumps(value)}' for label, value in labels.items())])}}}"


UP, STORAGE, FINDINGS = spoken("up"), spoken("ledger_storage_up"), spoken("ledger_view_findings")
HEAD = spoken("ledger_head_position")
LAG, ASTRAY = (
    {slug: spoken(f"ledger_follower_{name}", follower=slug) for slug in ("transparency-log", "order-search")}
    for name in ("lag_seconds", "astray")
)
CONFLICTS, APPENDS = spoken("ledger_append_conflicts_total"), spoken("ledger_appends_total")
BREAKER = spoken("payment_gateway_breaker_open")
FORGED, REFUSED = (spoken("payment_webhooks_total", outcome=outcome) for outcome in ("forged", "refused"))
QUEUED, WAITING, FAILING, DEAD, DISABLED, DELIVERED = (
    spoken(f"ledger_{name}", endpoint="ep_1")
    for name in (
        "webhook_position",
        "webhooks_waiting",
        "webhooks_failing",
        "webhooks_dead",
        "webhook_endpoint_disabled",
        "webhooks_delivered_total",
    )
)
GOOD, BAD = (spoken("http_requests_total", route="/orders", status=status) for status in ("200", "500"))
WITHIN_1, WITHIN_10, ALL = (
    spoken("http_request_duration_seconds_bucket", route="/orders", le=le) for le in ("1.0", "10.0", "+Inf")
)

HEALTHY: Mapping[str, str] = {
    UP: steady(1),
    STORAGE: steady(1),
    FINDINGS: steady(0),
    HEAD: rising(60),
    **dict.fromkeys([*LAG.values(), *ASTRAY.values()], steady(0)),
    APPENDS: rising(60),
    CONFLICTS: rising(1),
    BREAKER: steady(0),
    FORGED: steady(1),
    REFUSED: steady(2),
    QUEUED: rising(60),
    DELIVERED: rising(60),
    WAITING: steady(3),
    FAILING: steady(0),
    DEAD: steady(0),
    DISABLED: steady(0),
    GOOD: rising(1000),
    BAD: rising(10),
    WITHIN_1: rising(1000),
    WITHIN_10: rising(1000),
    ALL: rising(1000),
}
"""A value a minute of a ledger with an event a second, of which an endpoint is told."""


class Case(NamedTuple):
    """An alert that does not fire yet at minute ``silent``, and does at minute ``firing``, when this is otherwise than
    in a healthy ledger from the beginning; ``None``: not there."""

    alert: str
    silent: int
    firing: int
    changes: Mapping[str, str | None]


STANDING: Mapping[str, str | None] = dict.fromkeys(
    (STORAGE, FINDINGS, HEAD, *LAG.values(), *ASTRAY.values(), QUEUED, WAITING, FAILING, DEAD, DISABLED, DELIVERED)
)
CASES = [
    Case("LedgerDown", 0, 2, {**dict.fromkeys(HEALTHY), UP: steady(0)}),
    Case("LedgerNotWatched", 4, 6, dict.fromkeys(HEALTHY)),
    Case("LedgerDatabaseDown", 0, 2, {**STANDING, STORAGE: steady(0)}),
    Case("LedgerErrors", 4, 12, {BAD: rising(30)}),
    Case("LedgerSlow", 9, 22, {WITHIN_1: rising(980)}),
    Case("LedgerFollowerBehind", 0, 2, {LAG["transparency-log"]: steady(31)}),
    Case("LedgerSearchBehind", 14, 16, {LAG["order-search"]: steady(63_000_000)}),
    Case("LedgerCutOff", 0, 2, {ASTRAY["transparency-log"]: steady(1)}),
    Case("LedgerViewsDiffer", 0, 2, {FINDINGS: steady(1)}),
    Case("LedgerViewsNotCompared", 4, 6, {FINDINGS: None}),
    Case("LedgerConflicts", 9, 22, {CONFLICTS: rising(15)}),
    Case("PaymentGatewayLeftAlone", 1, 3, {BREAKER: steady(1)}),
    Case("PaymentWebhooksForged", 1, 10, {FORGED: rising(1)}),
    Case("PaymentWebhooksRefused", 59, 92, {REFUSED: rising(1)}),
    Case("LedgerWebhooksFailing", 59, 61, {FAILING: steady(1)}),
    Case("LedgerWebhooksGivenUp", 4, 6, {DEAD: steady(1)}),
    Case("LedgerWebhooksNotQueued", 10, 17, {QUEUED: steady(1)}),
    Case("LedgerWebhooksNotSent", 29, 31, {DELIVERED: steady(7)}),
    Case("LedgerWebhooksTooSlow", 29, 31, {WAITING: steady(10_000), QUEUED: steady(1)}),
]

SILENT = {
    "a healthy ledger": {},
    "a search that is made anew": {LAG["order-search"]: f"63000000x10 {steady(0)}"},
    "a restart": {UP: f"1x30 0 {steady(1)}"},
    "an endpoint that catches up within minutes": {QUEUED: f"0+400x9 {rising(60, 600)}"},
    "nothing happens": {HEAD: steady(60), QUEUED: steady(60), DELIVERED: steady(60), WAITING: steady(0)},
    "a ledger that tells nobody": {QUEUED: None, WAITING: None, FAILING: None, DEAD: None, DISABLED: None},
    "few forged notices": {FORGED: f"1 3 {steady(3)}"},
}


def _promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _assert_firing(at: Mapping[int, set[str]], changes: Mapping[str, str | None], directory: Path) -> None:
    """Asks promtool whether just these alerts fire at these minutes, of a ledger healthy but for the changes."""
    series = [
        {"series": name, "values": values} for name, values in {**HEALTHY, **changes}.items() if values is not None
    ]
    wanted = [
        {
            "expr": _FIRING,
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
        }
        for minute, alerts in at.items()
    ]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": wanted}
    file = directory / "test.yml"
    # JSON is YAML, too.
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    assert not _promtool("test", "rules", file)


def test_prometheus_understands_the_rules() -> None:
    assert not _promtool("check", "rules", RULES)


@pytest.mark.parametrize("case", CASES, ids=[case.alert for case in CASES])
def test_a_rule_fires_when_it_should_and_no_other_does(case: Case, tmp_path: Path) -> None:
    _assert_firing({case.silent: set(), case.firing: {case.alert}}, case.changes, tmp_path)


@pytest.mark.parametrize("changes", SILENT.values(), ids=SILENT)
def test_what_is_as_it_should_be_raises_no_alert(changes: Mapping[str, str | None], tmp_path: Path) -> None:
    _assert_firing({minute: set() for minute in range(0, _MINUTES, 10)}, changes, tmp_path)


def test_an_endpoint_that_is_disabled_is_told_of_once(tmp_path: Path) -> None:
    changes = {DISABLED: steady(1), QUEUED: steady(1), DELIVERED: steady(7), WAITING: steady(10_000)}
    _assert_firing({120: {"LedgerWebhooksGivenUp"}}, changes, tmp_path)


def test_each_rule_has_a_case() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    assert sorted(alerts) == sorted(case.alert for case in CASES)
