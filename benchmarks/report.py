"""The report: everything as JSON, what matters as Markdown, and a chart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.servers import THREADS

Report = Mapping[str, Any]
_VERDICT = {True: "met", False: "**missed**", None: "not measured"}


def write(report: Report, directory: Path) -> list[Path]:
    """Writes ``results.json``, ``results.md`` and, where matplotlib is installed, ``results.png``."""
    directory.mkdir(parents=True, exist_ok=True)
    as_json, as_text = directory / "results.json", directory / "results.md"
    as_json.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
    as_text.write_text("\n".join(markdown(report)) + "\n", encoding="utf-8")
    try:
        from benchmarks import chart  # noqa: PLC0415  matplotlib is an extra
    except ImportError:
        return [as_json, as_text]
    picture = directory / "results.png"
    return [as_json, as_text, *([picture] if chart.draw(report, picture) else [])]


def markdown(report: Report) -> Iterator[str]:
    """The report in words and tables."""
    yield "# Benchmark results"
    yield ""
    yield f"Made by `{report['command']}`, {report['minutes']} minutes."
    yield "Medians of interleaved rounds, with [min - max]. Durability is on everywhere: fsync and synchronous_commit"
    yield "on PostgreSQL, WAL with synchronous=FULL on SQLite."
    yield "How it is measured, and what the names mean, is in the README beside this file."
    yield ""
    yield from _machine(report["machine"])
    yield from _targets(report["targets"])
    sections = {"appends": _appends, "http": _http, "growth": _growth, "rebuild": _rebuild, "console": _console}
    for name, section in sections.items():
        if name in report["parts"]:
            yield from section(report["parts"][name])


def _machine(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "## Machine"
    yield ""
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    yield f"{facts['cores']} cores ({facts['processor']}), {facts['memory_gib']} GiB, {facts['system']};"
    yield f"{facts['python']}, SQLite {facts['sqlite']}, PostgreSQL {facts.get('postgresql', 'not used')}; {packages}."
    yield f"Commit {facts['commit']}, {facts['time']};"
    yield f"load average before: {facts['load_average_before']}, after: {facts['load_average_after']}."
    yield ""


def _targets(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield "Ratios of requests or appends a second; p99 / p50 are of latencies."
    yield ""
    yield from _head("ratio", "target", "measured", "rounds", "verdict")
    for target in targets:
        limit = f"{'at most' if target['at_most'] else 'at least'} {target['limit']:g}"
        measured = _numbers(target["measured"], ".2f")
        yield _row(target["name"], limit, measured, target["rounds"], _VERDICT[target["met"]])
    yield ""


def _appends(part: Mapping[str, Any]) -> Iterator[str]:
    yield "## Appends"
    yield ""
    yield from _head("database", "threads", "store", "appends/s", "p50 ms", "p99 ms", "events a transaction")
    for case in part["cases"]:
        yield _row(
            case["database"],
            case["threads"],
            case["store"],
            _numbers(case["per_second"], ",.0f"),
            _median(case["p50_ms"], ".2f"),
            _median(case["p99_ms"], ".2f"),
            _median(case["batch"], ".1f"),
        )
    yield ""
    for note in part["notes"]:
        yield f"{note}\n"


def _http(part: Mapping[str, Any]) -> Iterator[str]:
    yield "## HTTP"
    yield ""
    yield f"Every server: gunicorn with two workers of {THREADS} threads, each kept to a CPU (LEDGER_PIN_WORKERS=yes)."
    yield ""
    columns = ("requests/s", "balanced rounds", "p50 ms", "p99 ms", "largest share", "worker CPU us/request")
    yield from _head("database", "connections", "server", "request", *columns)
    for case in part["cases"]:
        yield _row(case["database"], case["connections"], case["server"], case["request"], *_http_numbers(case))
    yield ""
    yield "Memory of each worker after all rounds:"
    yield ""
    yield from _head("database", "server", "RSS MiB", "USS MiB")
    for entry in part["memory"]:
        rss, uss = (" ".join(str(worker[name]) for worker in entry["workers_mib"]) for name in ("rss", "uss"))
        yield _row(entry["database"], entry["server"], rss, uss)
    yield ""


def _http_numbers(case: Mapping[str, Any]) -> Iterator[str]:
    balanced = sum(each["balanced"] for each in case["rounds"])
    yield _numbers(case["per_second"], ",.0f")
    yield f"{_median(case['per_second_balanced'], ',.0f')} ({balanced} of {len(case['rounds'])})"
    yield _median(case["p50_ms"], ".2f")
    yield _median(case["p99_ms"], ".2f")
    yield _numbers(case["largest_share"], ".0%")
    yield _median(case["cpu_per_request_us"], ".0f")


def _growth(part: Mapping[str, Any]) -> Iterator[str]:
    yield "## Growth"
    yield ""
    yield "One worker, kept to a CPU; 16 connections."
    yield ""
    yield from _head("database", "ledger", "request", "requests/s", "p50 ms", "p99 ms", "worker CPU us/request")
    for case in part["cases"]:
        numbers = (_median(case[name], form) for name, form in (("p50_ms", ".2f"), ("p99_ms", ".2f")))
        cpu = _median(case["cpu_per_request_us"], ".0f")
        each = _numbers(case["per_second"], ",.0f")
        yield _row(case["database"], case["server"], case["request"], each, *numbers, cpu)
    yield ""


def _rebuild(part: Mapping[str, Any]) -> Iterator[str]:
    yield "## Rebuild"
    yield ""
    yield "The order view made from the log. The library's ways are measured on a shorter log, as they take so long."
    yield ""
    yield from _head("database", "events", "way", "events/s", "rounds", "peak MiB")
    for case in part["cases"]:
        rate, peak = _numbers(case["per_second"], ",.0f"), _numbers(case["peak_mib"], ".0f")
        yield _row(case["database"], f"{case['events']:,}", case["way"], rate, len(case["rounds"]), peak)
    yield ""
    for run in part["live"]:
        took = run["rebuild"]
        yield f"{run['database']}: {run['clients']} clients, half of whose requests write; the rebuild of"
        yield f"{took['events']:,} events took {took['seconds']:.1f} s beside them. The longest write fell into:"
        yield f"{', '.join(run['phases_at_longest_write'])}. Times are in ms."
        yield ""
        yield from _head("", "requests/s", "write p50", "p99", "max", "over 100", "read p50", "p99", "max", "failed")
        for name, window in run["windows"].items():
            writes, reads = (
                [window[f"{kind}_{part}_ms"] for part in ("p50", "p99", "max")] for kind in ("write", "read")
            )
            long = window["writes_over_100_ms"]
            yield _row(name, f"{window['per_second']:,.0f}", *writes, long, *reads, window["failed"])
        yield ""


def _console(part: Mapping[str, Any]) -> Iterator[str]:
    yield "## Console"
    yield ""
    yield f"The server's time for a page at a ledger of {part['orders']:,} orders ({part['events']:,} events), in one"
    yield "thread. *Found*: rows, events, proofs or periods that the page shows; *first*: not warm."
    yield ""
    yield from _head("database", "page", "found", "ms", "first, ms")
    for case in part["cases"]:
        yield _row(case["database"], case["page"], case["rows"], _numbers(case["ms"], ".1f"), f"{case['first_ms']:.1f}")
    yield ""


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _numbers(summary: Mapping[str, float] | None, form: str) -> str:
    if summary is None:
        return "-"
    return f"{summary['median']:{form}} [{summary['min']:{form}} - {summary['max']:{form}}]"


def _median(summary: Mapping[str, float] | None, form: str) -> str:
    return "-" if summary is None else f"{summary['median']:{form}}"
