"""Metrics, their documentation, the alert rules and the dashboard speak of the same things."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from scripts.bootstrap import build
from tests.support.cli import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RULES = ROOT / "docs" / "monitoring" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "docs" / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
_NAME = re.compile(r"\b(?:ledger|http|payment)_[a-z_]+")


@pytest.fixture(scope="module")
def served() -> dict[str, str]:
    """The type of each metric that a ledger serves, by name."""
    from ledger.settings import Settings
    from tests.unit.api.conftest import SECRET

    environ = {"LEDGER_DATABASE_URL": "sqlite:///:memory:", "LEDGER_JWT_SECRET": SECRET}
    with build(Settings.from_env(environ)) as runtime:
        runtime.migrate()
        client = runtime.app().test_client()
        runtime.services.observed.by.called("refund", "answered", 0.1)
        with runtime.database.write() as cursor:
            cursor.execute("INSERT INTO log_checkpoints VALUES (0, ?, '', '2026-01-01T00:00:00.000000Z')", (b"",))
        page = client.get("/healthz") and client.get("/metrics").text
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))


def documented() -> dict[str, str]:
    section = OPERATIONS.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE))


def of_sample(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_every_metric_is_documented_with_its_type(served: dict[str, str]) -> None:
    kinds = {name: kind for name, kind in served.items() if not name.endswith("_created")}
    assert kinds == documented()


def test_rules_and_dashboard_use_metrics_that_there_are() -> None:
    used = set(_NAME.findall(" ".join(re.findall(r"expr: (.*)", RULES.read_text(encoding="utf-8")))))
    shown: set[str] = set()
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            shown |= set(_NAME.findall(target["expr"]))
    assert {of_sample(name) for name in used | shown} <= set(documented())
    assert {of_sample(name) for name in shown} == set(documented())


def test_the_dashboard_is_one() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 8
    assert all(panel["title"] and panel["targets"] for panel in panels)
