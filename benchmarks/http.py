"""Requests a second: the API against a hello-world in the same gunicorn, and against a plain CRUD application."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import fill
from benchmarks.databases import postgres_database, sqlite_directory
from benchmarks.load import LoadRound, Request, load, require_wrk
from benchmarks.measure import Say, Summary
from benchmarks.servers import CRUD, HELLO, LEDGER, Server, serving, token

READER, WRITER = 1, 2
_OTHERS = range(1000, 1100)
LISTED = 20
_READ = token(READER)
REQUESTS = {
    "POST": Request("post", "/orders/new", token(WRITER)),
    "detail": Request("detail", "/orders", _READ, ("1", str(LISTED))),
    "list": Request("same", "/orders", _READ),
}
_HELLO = Request("same", "/")


@dataclass(frozen=True)
class Plan:
    """How long it takes."""

    connections: Sequence[int] = (16, 64)
    rounds: int = 6
    seconds: float = 3.0
    databases: Sequence[str] = ("postgres", "sqlite")


@dataclass
class Case:
    """All rounds of one request at one server."""

    database: str
    connections: int
    server: str
    request: str
    rounds: list[LoadRound] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """For the report."""
        names = ("per_second", "p50_ms", "p99_ms", "largest_share", "cpu_per_request_us")
        summaries = {name: Summary.of([getattr(each, name) for each in self.rounds]) for name in names}
        balanced = Summary.of([each.per_second for each in self.rounds if each.balanced])
        return {
            "database": self.database,
            "connections": self.connections,
            "server": self.server,
            "request": self.request,
            **{name: summary and summary._asdict() for name, summary in summaries.items()},
            "per_second_balanced": balanced and balanced._asdict(),
            "rounds": [{**asdict(each), "balanced": each.balanced} for each in self.rounds],
        }


def run(plan: Plan, server_url: str | None, say: Say) -> dict[str, Any]:
    """Everything, and the memory of the workers after it."""
    require_wrk()
    cases: list[Case] = []
    memory: list[dict[str, Any]] = []
    for database in plan.databases:
        with _servers(database, server_url) as servers:
            for connections in plan.connections:
                cases += _measure(database, connections, servers, plan, say)
            for name, server in servers.items():
                held = [asdict(each) for each in server.memory()]
                memory.append({"database": database, "server": name, "workers_mib": held})
    return {"cases": [case.report() for case in cases], "memory": memory}


def _measure(database: str, connections: int, servers: dict[str, Server], plan: Plan, say: Say) -> list[Case]:
    """Interleaved rounds, after a short one for each that is not counted."""
    turns = [("hello", "hello", _HELLO)]
    turns += [(name, kind, request) for kind, request in REQUESTS.items() for name in ("ledger", "crud")]
    cases = [Case(database, connections, name, kind) for name, kind, _ in turns]
    for round_number in range(plan.rounds + 1):
        seconds = plan.seconds if round_number else 1.0
        for case, (name, _, request) in zip(cases, turns, strict=True):
            result = load(servers[name], request, connections=connections, seconds=seconds)
            if round_number:
                case.rounds.append(result)
    for case in cases:
        median = Summary.of([each.per_second for each in case.rounds])
        say(
            f"{database:9} {connections:3} connections  {case.server:7} {case.request:7}"
            f" {median.median if median else 0:9,.0f} requests/s"
        )
    return cases


@contextmanager
def _servers(database: str, server_url: str | None) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        directory = stack.enter_context(sqlite_directory())
        ours, theirs = _urls(stack, database, server_url, directory)
        # Others' orders too: with one user's alone, the planner's statistics would be of no ledger there is.
        shares = [(READER, LISTED), *((user, LISTED) for user in _OTHERS)]
        fill.ledger(ours, shares)
        fill.crud(theirs, shares)
        yield {
            "hello": stack.enter_context(serving(HELLO, ours, directory)),
            "ledger": stack.enter_context(serving(LEDGER, ours, directory)),
            "crud": stack.enter_context(serving(CRUD, theirs, directory)),
        }


def _urls(stack: ExitStack, database: str, server_url: str | None, directory: Path) -> tuple[str, str]:
    if database == "sqlite":
        return f"sqlite:///{directory}/ledger.db", f"sqlite:///{directory}/crud.db"
    assert server_url is not None
    return stack.enter_context(postgres_database(server_url)), stack.enter_context(postgres_database(server_url))
