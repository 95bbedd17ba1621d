"""The benchmark runs and reports; how fast anything is, is not for a test to say."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import appends, fill, targets
from benchmarks.measure import Numbers, run_threads
from benchmarks.shop import Shop
from ledger.statuses import Status
from ledger.storage.log import RecordedEvent
from projections.rules import Rules
from scripts import bench
from tests.support.cli import environ_of, run_cli


@pytest.fixture(scope="module")
def report(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    out = tmp_path_factory.mktemp("bench")
    environ = environ_of(LEDGER_TEST_DATABASE_URL=postgres_server)
    result = run_cli("bench", "--quick", "--only", "appends", "--out", str(out), environ=environ)
    assert result.returncode == 0, result.stderr
    return out, json.loads((out / "results.json").read_text())


@pytest.mark.postgres
@pytest.mark.slow
def test_each_store_was_measured_with_each_number_of_threads(report: tuple[Path, Mapping[str, Any]]) -> None:
    cases = report[1]["parts"]["appends"]["cases"]

    measured = {(case["database"], case["threads"], case["store"]) for case in cases}
    for database in ("postgres", "sqlite"):
        for store in ("ours", "ours, events only", "eventsourcing library", "raw SQL floor"):
            assert {(database, 1, store), (database, 16, store)} <= measured
    for case in cases:
        assert 0 < case["per_second"]["min"] <= case["per_second"]["median"] <= case["per_second"]["max"]
        assert 0 < case["p50_ms"]["median"] <= case["p99_ms"]["median"]


@pytest.mark.postgres
@pytest.mark.slow
def test_the_report_says_what_was_run_on_what_and_how_it_stands(report: tuple[Path, Mapping[str, Any]]) -> None:
    out, found = report

    assert found["command"] == "order-ledger bench --quick --only appends"
    assert {"cores", "memory_gib", "system", "python", "postgresql", "sqlite", "packages"} <= set(found["machine"])
    text = (out / "results.md").read_text()
    for target in found["targets"]:
        assert target["name"] in text
        assert target["met"] in {True, False, None}
    assert str(out) not in text
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.postgres
@pytest.mark.slow
def test_rebuilds_are_measured_each_way_and_in_use(postgres_server: str, tmp_path: Path) -> None:
    environ = environ_of(LEDGER_TEST_DATABASE_URL=postgres_server)
    result = run_cli("bench", "--quick", "--only", "rebuild", "--out", str(tmp_path), environ=environ)
    assert result.returncode == 0, result.stderr

    part = json.loads((tmp_path / "results.json").read_text())["parts"]["rebuild"]
    ways = {(case["database"], case["way"]) for case in part["cases"]}
    assert {("postgres", "ours"), ("postgres", "SQL alone"), ("postgres", "library's ProjectionRunner")} <= ways
    assert {("sqlite", "ours"), ("sqlite", "SQL alone"), ("sqlite", "library, 500 at once")} <= ways
    for case in part["cases"]:
        assert case["per_second"]["min"] > 0
        assert (case["way"] == "ours") == (case["peak_mib"] is not None)
    for run in part["live"]:
        assert [window["failures"] for window in run["windows"].values()] == [[], [], []]
        assert run["windows"]["during"]["write_max_ms"] > 0
    assert "while a view is rebuilt, longest write" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.postgres
def test_the_console_s_pages_are_measured(postgres_server: str, tmp_path: Path) -> None:
    environ = environ_of(LEDGER_TEST_DATABASE_URL=postgres_server)
    result = run_cli("bench", "--quick", "--only", "console", "--out", str(tmp_path), environ=environ)
    assert result.returncode == 0, result.stderr

    found = json.loads((tmp_path / "results.json").read_text())
    cases = found["parts"]["console"]["cases"]
    assert {case["database"] for case in cases} == {"postgres", "sqlite"}
    assert {"overview", "orders by status", "an order", "the log by user"} <= {case["page"] for case in cases}
    assert all(case["ms"]["median"] > 0 for case in cases)
    for database in ("postgres", "sqlite"):
        rows = {case["page"]: case["rows"] for case in cases if case["database"] == database}
        assert all(rows.values())
        assert rows["overview"] > 1
        assert (rows["orders"], rows["orders by status"], rows["a user's by amount"]) == (50, 10, 10)
        assert {rows[f"{what} 100 events"] for what in ("an order with", "proofs of")} == {100}
        assert (rows["the log's end"], rows["the log of an order"]) == (100, 100)
        assert rows["by day and amount"] < rows["by common amount"]
        assert (rows["the log by user"], rows["the log by type"]) == (1, 1)
    assert {(target["limit"], target["at_most"]) for target in found["targets"]} == {(100, True)}
    assert "| sqlite | an order with 100 events | 100 |" in (tmp_path / "results.md").read_text()


def test_the_console_s_shop_has_a_log_as_the_ledger_would_have_written_it(tmp_path: Path) -> None:
    url, rules, positions = f"sqlite:///{tmp_path}/shop.db", Rules(), count(1)
    batches = list(Shop(1000).batches())
    fill.write(url, batches)

    faults = [
        fault
        for batch in batches
        for each in batch.events
        for fault in rules.add(RecordedEvent(next(positions), each.stream, each.version, each.type, each.body))
    ]
    assert faults == []
    checked = run_cli("check", environ=environ_of(LEDGER_DATABASE_URL=url))
    assert (checked.returncode, checked.stderr) == (0, "Nothing differs.\n")


def test_the_console_s_shop_is_the_same_each_time_and_spread_over_two_years() -> None:
    batches = list(Shop(1000).batches())

    assert batches == list(Shop(1000).batches())
    bodies = [json.loads(each.body) for batch in batches for each in batch.events]
    moments = [body["timestamp"] for body in bodies]
    assert moments == sorted(moments)
    assert (moments[0][:4], moments[-1][:10]) == ("2024", "2025-12-30")
    placed = [body for body in bodies if "lines" in body]
    assert len({body["user_id"] for body in placed}) > 500
    assert len({body["amount_in_cents"] for body in placed}) > 300
    assert {body["status"] for body in bodies if "previous" in body} == {*Status} - {Status.PENDING}


def test_the_targets_of_a_rebuild_are_speed_memory_and_what_clients_notice() -> None:
    def case(way: str, rate: float, peak: float | None = None) -> dict[str, Any]:
        summary = None if peak is None else {"median": peak, "min": peak, "max": peak}
        rounds = [{"per_second": rate}]
        return {"database": "postgres", "way": way, "events": 10, "rounds": rounds, "peak_mib": summary}

    cases = [case("ours", 200.0, 301.0), case("SQL alone", 400.0), case("library's ProjectionRunner", 2.0)]
    live = {"database": "sqlite", "ratio": 0.4, "windows": {"during": {"failed": 1, "write_max_ms": 100.0}}}
    found = targets.OF["rebuild"]({"cases": cases, "live": [live]})

    assert [(each.measured and each.measured.median, each.met) for each in found] == [
        (100.0, True),
        (0.5, False),
        (None, None),
        (301.0, False),
        (1, False),
        (100.0, True),
        (0.4, False),
    ]


def test_the_floor_writes_the_rows_of_the_views() -> None:
    appends.assert_same_rows()


def test_a_target_is_met_by_the_median_of_the_ratios_within_rounds() -> None:
    def case(store: str, *per_second: int) -> dict[str, Any]:
        rounds = [{"per_second": each} for each in per_second]
        return {"database": "postgres", "threads": 16, "store": store, "rounds": rounds}

    found = targets.of_appends([case("ours", 500, 900, 100), case("eventsourcing library", 100, 100, 100)])

    (target,) = [each for each in found if each.measured]
    assert target.measured == (5.0, 1.0, 9.0)
    assert target.met is True


def test_an_error_of_one_thread_ends_the_round() -> None:
    from contextlib import nullcontext

    def operation(number: int) -> int:
        raise LookupError(number)

    with pytest.raises(LookupError):
        run_threads(lambda: nullcontext(operation), threads=2, seconds=5, numbers=Numbers())


def test_an_installation_without_the_benchmarks_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_CHECKOUT", tmp_path)

    result = CliRunner().invoke(importlib.import_module("scripts.cli").main, ["bench", "--quick"])

    assert result.exit_code == 2
    assert result.stderr == "order-ledger: bench runs from a checkout: this installation has no benchmarks folder\n"
