"""Runs the parts that are asked for on a real PostgreSQL and on SQLite, and writes the report."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import appends, console, facts, growth, http, rebuild, report, targets
from benchmarks.databases import postgres_server
from benchmarks.measure import Say

PARTS = ("appends", "http", "growth", "rebuild", "console")


@dataclass(frozen=True)
class Plans:
    """How thorough each part is."""

    appends: appends.Plan
    http: http.Plan
    growth: growth.Plan
    rebuild: rebuild.Plan
    console: console.Plan


THOROUGH = Plans(appends.Plan(), http.Plan(), growth.Plan(), rebuild.Plan(), console.Plan())
QUICK = Plans(
    appends.Plan(threads=(1, 16), rounds=1, seconds=0.3),
    http.Plan(connections=(16,), rounds=1, seconds=1.0),
    growth.Plan(sizes=(0, 1000), many=500, rounds=1, seconds=1.0),
    rebuild.Plan(events=6000, library=600, rounds=1, seconds=1.0),
    console.Plan(orders=6000, rounds=1),
)
_FURTHER = 5_000_000
"""Events of the rebuild that shows whether memory depends on their number."""


def run(
    *, quick: bool, full: bool, only: Collection[str], out: Path, command: str, server_url: str | None, say: Say
) -> Sequence[Path]:
    """Measures, writes the report into ``out``, and returns the paths of its files.

    ``server_url`` names a PostgreSQL server to create databases on; without it one is started. ``full`` adds what
    takes long and is no ratio.
    """
    plans, started = QUICK if quick else THOROUGH, time.monotonic()
    if full:
        plans = replace(plans, rebuild=replace(plans.rebuild, further=_FURTHER))
    parts: dict[str, Any] = {}
    with postgres_server(server_url) as url:
        machine = facts.machine(url)
        for part in PARTS:
            if part in only:
                say(f"{part}:")
                parts[part] = _run_part(part, plans, url, say)
    machine["load_average_after"] = round(os.getloadavg()[0], 2)
    minutes = round((time.monotonic() - started) / 60, 1)
    return report.write(_assembled(parts, machine, command, minutes), out)


def _run_part(part: str, plans: Plans, url: str, say: Say) -> dict[str, Any]:
    if part == "appends":
        return appends.run(plans.appends, url, say)
    if part == "http":
        return http.run(plans.http, url, say)
    if part == "growth":
        return growth.run(plans.growth, url, say)
    if part == "console":
        return console.run(plans.console, url, say)
    return rebuild.run(plans.rebuild, url, say)


def _assembled(parts: Mapping[str, Any], machine: Mapping[str, Any], command: str, minutes: float) -> dict[str, Any]:
    judged = [target.report() for part, found in parts.items() for target in targets.OF[part](found)]
    return {"command": command, "minutes": minutes, "machine": machine, "targets": judged, "parts": parts}
