"""Rebuilds of the order view, side by side: the ledger's, the library's, and SQL alone; and one under load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.databases import postgres_database, sqlite_directory
from benchmarks.measure import Say, Summary
from benchmarks.rebuilds import history, library, live, process, sql

OURS = "ours"


@dataclass(frozen=True)
class Plan:
    """How large, and how long it takes: ``library`` events for the library, ``further`` only for memory and growth."""

    events: int = 1_000_000
    library: int = 20_000
    further: int | None = None
    rounds: int = 3
    seconds: float = 10.0
    databases: tuple[str, ...] = ("postgres", "sqlite")


@dataclass(frozen=True)
class Ground:
    """Where databases of one kind are made."""

    database: str
    server_url: str | None
    directory: Path

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of an empty database, gone at the end."""
        if self.database == "postgres":
            assert self.server_url is not None
            with postgres_database(self.server_url) as url:
                yield url
            return
        path = self.directory / f"{len(list(self.directory.iterdir()))}.db"
        yield f"sqlite:///{path}"
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def ledger(self, events: int, say: Say) -> Iterator[str]:
        """The URL of a ledger with so many events."""
        with self.empty() as url:
            say(f"{self.database:9} {events:,} events are being written")
            history.fill(url, events)
            yield url


@dataclass(frozen=True)
class Round:
    """One rebuild; ``peak_mib`` is the most memory that its process held, where it is one of its own."""

    per_second: float
    seconds: float
    peak_mib: float | None = None


@dataclass
class Case:
    """All rounds of one way to rebuild."""

    database: str
    way: str
    events: int
    rounds: list[Round] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """For the report."""
        rate = Summary.of([each.per_second for each in self.rounds])
        peak = Summary.of([each.peak_mib for each in self.rounds if each.peak_mib is not None])
        return {
            "database": self.database,
            "way": self.way,
            "events": self.events,
            "log": f"{self.events:,} events",
            "per_second": rate and rate._asdict(),
            "peak_mib": peak and peak._asdict(),
            "rounds": [asdict(each) for each in self.rounds],
        }


def run(plan: Plan, server_url: str | None, say: Say) -> dict[str, Any]:
    """Everything."""
    cases: list[Case] = []
    in_use: list[dict[str, Any]] = []
    for database in plan.databases:
        with sqlite_directory() as directory:
            ground = Ground(database, server_url, directory)
            with ground.ledger(plan.events, say) as url:
                cases += _side_by_side(ground, url, plan, say)
                in_use.append(live.measure(database, url, directory, plan.seconds, say))
            if plan.further:
                with ground.ledger(plan.further, say) as url:
                    cases.append(_alone(database, url, say))
    return {"cases": [case.report() for case in cases], "live": in_use}


def _side_by_side(ground: Ground, url: str, plan: Plan, say: Say) -> list[Case]:
    """Rounds in which every way has its turn."""
    ways: dict[str, tuple[int, Callable[[], Round]]] = {
        OURS: (plan.events, lambda: _ours(url)),
        sql.NAME: (plan.events, lambda: _by_sql(ground.database, url, plan.events)),
    }

    def of_library(way: Callable[[str, int], float]) -> Round:
        with ground.empty() as own:
            rate = way(own, plan.library)
        return Round(rate, plan.library / rate)

    ways[library.LOOP] = (plan.library, lambda: of_library(library.loop))
    if ground.database == "postgres":  # on SQLite the library has no subscriptions, and so no runner
        ways[library.RUNNER] = (plan.library, lambda: of_library(library.runner))
    cases = {name: Case(ground.database, name, events) for name, (events, _) in ways.items()}
    for _ in range(plan.rounds):
        for name, (_, way) in ways.items():
            cases[name].rounds.append(way())
    for case in cases.values():
        _tell(case, say)
    return list(cases.values())


def _alone(database: str, url: str, say: Say) -> Case:
    found = process.finished(process.started(url))
    case = Case(database, OURS, found.events, [_round(found)])
    _tell(case, say)
    return case


def _ours(url: str) -> Round:
    return _round(process.finished(process.started(url)))


def _round(took: process.Took) -> Round:
    return Round(took.events / took.seconds, took.seconds, took.peak_mib)


def _by_sql(database: str, url: str, events: int) -> Round:
    seconds = (sql.on_postgres if database == "postgres" else sql.on_sqlite)(url)
    return Round(events / seconds, seconds)


def _tell(case: Case, say: Say) -> None:
    found = case.report()
    peak = f", {found['peak_mib']['max']:.0f} MiB at most" if found["peak_mib"] else ""
    say(
        f"{case.database:9} {case.events:9,} events  {case.way:26} {found['per_second']['median']:9,.0f} events/s{peak}"
    )
