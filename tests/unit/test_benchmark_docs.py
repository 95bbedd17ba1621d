"""What the documentation says of the console's cost is what was measured."""

from __future__ import annotations

import json
import re

from tests.support.cli import ROOT

DOCS = ROOT / "docs"


def test_the_console_costs_what_the_results_say() -> None:
    results = json.loads((DOCS / "benchmarks" / "console" / "results.json").read_text(encoding="utf-8"))
    measured = {
        (case["page"], case["database"]): f"{case['ms']['median']:.1f}" for case in results["parts"]["console"]["cases"]
    }
    section = (DOCS / "console.md").read_text(encoding="utf-8").partition("\n## What it costs\n")[2]
    told = re.findall(r"^\| ([\w' ]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)

    assert len(told) > 10
    assert {page: (measured[page, "sqlite"], measured[page, "postgres"]) for page, *_ in told} == {
        page: (sqlite, postgres) for page, sqlite, postgres in told
    }
