"""The chart of a report: one panel for each part and database, bars with their min-max."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("Agg")

_COLOURS = {
    "ours": "#1b6ca8",
    "ours, events only": "#69a7d6",
    "ledger": "#1b6ca8",
    "eventsourcing library": "#d17a22",
    "message-db": "#8a5fa8",
    "crud": "#d17a22",
    "raw SQL floor": "#9a9a9a",
    "hello": "#9a9a9a",
    "0 orders": "#b9d4e8",
    "10,000 orders": "#69a7d6",
    "1,000,000 orders": "#1b6ca8",
    "20,000 events": "#d17a22",
    "1,000,000 events": "#1b6ca8",
    "5,000,000 events": "#69a7d6",
}
_OTHER = "#444444"
Cases = Sequence[Mapping[str, Any]]
Panel = tuple[str, Cases, Callable[[Mapping[str, Any]], str], str]
"""Title, cases, the group that a case belongs to, and the name of the member that is its series."""


def draw(report: Mapping[str, Any], path: Path) -> bool:
    """Draws the parts that were run; returns whether there was anything to draw."""
    panels = list(_panels(report["parts"]))
    if not panels:
        return False
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(13, 3.9 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).flat
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel)
    for axis in list(axes)[len(panels) :]:
        axis.remove()
    figure.savefig(path, dpi=110)
    return True


def _panels(parts: Mapping[str, Any]) -> Sequence[Panel]:
    panels: list[Panel] = []
    for part, title, group, series in (
        ("appends", "appends/s by threads", lambda case: str(case["threads"]), "store"),
        ("http", "requests/s, 16 connections", lambda case: str(case["request"]), "server"),
        ("growth", "requests/s by size of the ledger", lambda case: str(case["request"]), "server"),
        (
            "rebuild",
            "events/s of a rebuild, by log",
            lambda case: str(case["way"]).replace("y, ", "y,\n").replace("'s ", "'s\n"),
            "log",
        ),
    ):
        cases = [case for case in parts.get(part, {}).get("cases", []) if _shown(part, case)]
        for database in dict.fromkeys(case["database"] for case in cases):
            mine = [case for case in cases if case["database"] == database]
            panels.append((f"{database}: {title}", mine, group, series))
    return panels


def _shown(part: str, case: Mapping[str, Any]) -> bool:
    if part == "growth":
        return case["request"] in {"POST", "detail", "list"}
    return part != "http" or case["connections"] == 16


def _draw_panel(axis: Axes, panel: Panel) -> None:
    title, cases, group_of, series_name = panel
    groups = list(dict.fromkeys(group_of(case) for case in cases))
    series = list(dict.fromkeys(case[series_name] for case in cases))
    width = 0.8 / len(series)
    for number, name in enumerate(series):
        mine = [case for case in cases if case[series_name] == name]
        places = [groups.index(group_of(case)) + (number - (len(series) - 1) / 2) * width for case in mine]
        medians = [case["per_second"]["median"] for case in mine]
        below = [case["per_second"]["median"] - case["per_second"]["min"] for case in mine]
        above = [case["per_second"]["max"] - case["per_second"]["median"] for case in mine]
        axis.bar(
            places, medians, width, yerr=[below, above], label=name, color=_COLOURS.get(name, _OTHER), ecolor="#333333"
        )
    axis.set_title(title, fontsize=11)
    axis.set_xticks(range(len(groups)), groups)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    axis.legend(fontsize=8, frameon=False)
