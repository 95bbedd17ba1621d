"""The targets: ratios within one run, and whether they were met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import Summary

Case = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One ratio: what was measured, what it was to be at least (or at most), and of how many rounds."""

    name: str
    limit: float
    measured: Summary | None
    rounds: int
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median is on the right side; ``None`` when it was not measured."""
        if self.measured is None:
            return None
        return self.measured.median <= self.limit if self.at_most else self.measured.median >= self.limit

    def report(self) -> dict[str, Any]:
        """For the report."""
        return {
            "name": self.name,
            "limit": self.limit,
            "at_most": self.at_most,
            "measured": self.measured and self.measured._asdict(),
            "rounds": self.rounds,
            "met": self.met,
        }


# database, threads, what is measured, against what, at least
_APPENDS = (
    ("postgres", 1, "ours", "eventsourcing library", 2.5),
    ("postgres", 16, "ours", "eventsourcing library", 5.0),
    ("postgres", 64, "ours", "eventsourcing library", 6.0),
    ("postgres", 1, "ours, events only", "eventsourcing library", 2.5),
    ("postgres", 16, "ours, events only", "eventsourcing library", 5.0),
    ("postgres", 64, "ours, events only", "eventsourcing library", 6.0),
    ("postgres", 16, "ours", "message-db", 1.5),
    ("postgres", 1, "ours", "raw SQL floor", 0.7),
    ("postgres", 16, "ours", "raw SQL floor", 0.7),
    ("postgres", 64, "ours", "raw SQL floor", 0.7),
    ("sqlite", 16, "ours", "eventsourcing library", 2.0),
    ("sqlite", 16, "ours, events only", "eventsourcing library", 2.0),
)

# database, request, against which server, at least
_HTTP = (
    ("postgres", "POST", "hello", 0.35),
    ("postgres", "POST", "crud", 3.5),
    ("postgres", "detail", "hello", 0.5),
    ("postgres", "detail", "crud", 4.0),
    ("postgres", "list", "hello", 0.5),
    ("postgres", "list", "crud", 2.3),
    ("sqlite", "detail", "hello", 0.75),
    ("sqlite", "list", "hello", 0.75),
)
# database, against which way to rebuild, at least
_REBUILDS = (
    ("postgres", "library's ProjectionRunner", 100.0),
    ("postgres", "SQL alone", 0.6),
    ("sqlite", "SQL alone", 0.6),
)
_PEAK_MIB = 300.0
_PAGE_MS = 100
_STALL_MS = 250.0
_IN_USE = 0.5
_P99_OVER_P50 = 5.0
_GROWTH = 0.9


def of_appends(cases: Sequence[Case]) -> list[Target]:
    """The targets of the append benchmark."""
    found = {(case["database"], case["threads"], case["store"]): case for case in cases}
    targets = []
    for database, threads, store, against, limit in _APPENDS:
        ratios = _ratios(found.get((database, threads, store)), found.get((database, threads, against)))
        name = f"{database}, {threads} threads: {store} / {against}"
        targets.append(Target(name, limit, Summary.of(ratios), len(ratios)))
    return targets


def of_http(cases: Sequence[Case]) -> list[Target]:
    """The targets of the HTTP benchmark: over all rounds, and of balanced rounds alone."""
    found = {(case["database"], case["connections"], case["server"], case["request"]): case for case in cases}
    targets = []
    for database, request, against, limit in _HTTP:
        ours = found.get((database, 16, "ledger", request))
        theirs = found.get((database, 16, against, "hello" if against == "hello" else request))
        name = f"{database}, 16 connections: {request} / {against}"
        ratios = _ratios(ours, theirs)
        targets.append(Target(f"{name}, all rounds", limit, Summary.of(ratios), len(ratios)))
        balanced = _balanced_ratio(ours, theirs)
        targets.append(Target(f"{name}, balanced rounds", limit, *balanced))
    return targets + list(_tails(found.values()))


def of_growth(cases: Sequence[Case]) -> list[Target]:
    """Each size against the smallest, and the user with many orders against the one with few."""
    targets = []
    for database in dict.fromkeys(case["database"] for case in cases):
        mine = [case for case in cases if case["database"] == database]
        for request in ("POST", "detail", "list"):
            sizes = [case for case in mine if case["request"] == request]
            for larger in sizes[1:]:
                ratios = _ratios(larger, sizes[0])
                name = f"{database}: {request} at {larger['server']} / at {sizes[0]['server']}"
                targets.append(Target(name, _GROWTH, Summary.of(ratios), len(ratios)))
        by_request = {case["request"]: case for case in mine}
        for request in ("page", "POST"):
            few, many = (by_request.get(f"{request} of a user with {which}") for which in ("few", "many"))
            ratios = _ratios(many, few)
            name = f"{database}: {request} of a user with many orders / with few"
            targets.append(Target(name, _GROWTH, Summary.of(ratios), len(ratios)))
    return targets


def of_rebuilds(cases: Sequence[Case]) -> list[Target]:
    """Speed against the other ways, and memory whatever the size."""
    found = {(case["database"], case["way"]): case for case in reversed(cases)}
    targets = []
    for database, against, limit in _REBUILDS:
        ratios = _ratios(found.get((database, "ours")), found.get((database, against)))
        name = f"{database}: rebuild, ours / {against}"
        targets.append(Target(name, limit, Summary.of(ratios), len(ratios)))
    for case in cases:
        if case["peak_mib"]:
            name = f"{case['database']}: rebuild of {case['events']:,} events, MiB at most"
            measured = Summary(**case["peak_mib"])
            targets.append(Target(name, _PEAK_MIB, measured, len(case["rounds"]), at_most=True))
    return targets


def of_rebuilds_in_use(runs: Sequence[Mapping[str, Any]]) -> Iterator[Target]:
    """What clients notice of a rebuild."""
    for run in runs:
        during = run["windows"]["during"]
        name = f"{run['database']}: while a view is rebuilt,"
        yield Target(f"{name} requests that failed", 0, Summary.of([during["failed"]]), 1, at_most=True)
        yield Target(f"{name} longest write, ms", _STALL_MS, Summary.of([during["write_max_ms"]]), 1, at_most=True)
        yield Target(f"{name} requests a second / normal", _IN_USE, Summary.of([run["ratio"]]), 1)


def of_console(cases: Sequence[Case]) -> Iterator[Target]:
    """The server's time for each page."""
    for case in cases:
        name = f"{case['database']}: {case['page']}, ms of server time"
        yield Target(name, _PAGE_MS, Summary(**case["ms"]), case["rounds"], at_most=True)


Part = Mapping[str, Any]

OF: Mapping[str, Callable[[Part], list[Target]]] = {
    "appends": lambda part: of_appends(part["cases"]),
    "http": lambda part: of_http(part["cases"]),
    "growth": lambda part: of_growth(part["cases"]),
    "rebuild": lambda part: [*of_rebuilds(part["cases"]), *of_rebuilds_in_use(part["live"])],
    "console": lambda part: [*of_console(part["cases"])],
}


def _ratios(ours: Case | None, theirs: Case | None) -> list[float]:
    """Of the rounds that were run next to each other."""
    if ours is None or theirs is None:
        return []
    pairs = zip(ours["rounds"], theirs["rounds"], strict=True)
    return [mine["per_second"] / other["per_second"] for mine, other in pairs]


def _balanced_ratio(ours: Case | None, theirs: Case | None) -> tuple[Summary | None, int]:
    """Median against median, as a round is seldom balanced for both; from worst against best to best against worst."""
    mine = ours and ours["per_second_balanced"]
    other = theirs and theirs["per_second_balanced"]
    if not ours or not theirs or not mine or not other:
        return None, 0
    count = min(sum(each["balanced"] for each in case["rounds"]) for case in (ours, theirs))
    ratios = (mine["median"] / other["median"], mine["min"] / other["max"], mine["max"] / other["min"])
    return Summary(*ratios), count


def _tails(cases: Iterable[Case]) -> Iterator[Target]:
    for case in cases:
        if case["connections"] == 64 and case["server"] == "ledger":
            ratios = [each["p99_ms"] / each["p50_ms"] for each in case["rounds"]]
            name = f"{case['database']}, 64 connections: {case['request']}, p99 / p50"
            yield Target(name, _P99_OVER_P50, Summary.of(ratios), len(ratios), at_most=True)
