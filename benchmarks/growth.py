"""Growth: the same requests to ledgers of no, ten thousand and a million orders, for users with few and many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import fill
from benchmarks.databases import postgres_database, sqlite_directory
from benchmarks.http import Case
from benchmarks.load import Request, load, require_wrk
from benchmarks.measure import Say
from benchmarks.servers import LEDGER, Server, serving, token

READER, WRITER, FEW, MANY = 1, 2, 3, 4
LISTED, FEW_ORDERS = 20, 10
_OTHERS = range(1000, 6000)
_CONNECTIONS = 16
_PAGE = f"/orders?limit={FEW_ORDERS}"


@dataclass(frozen=True)
class Plan:
    """How large, and how long it takes. ``many`` is how many orders the user with many has in the largest ledger."""

    sizes: Sequence[int] = (0, 10_000, 1_000_000)
    many: int = 100_000
    rounds: int = 5
    seconds: float = 2.0
    databases: Sequence[str] = ("postgres", "sqlite")


def run(plan: Plan, server_url: str | None, say: Say) -> dict[str, Any]:
    """Everything. One worker a server, so that how connections are shared out plays no part."""
    require_wrk()
    cases: list[Case] = []
    for database in plan.databases:
        with _servers(database, plan, server_url, say) as servers:
            cases += _measure(database, servers, plan, say)
    return {"cases": [case.report() for case in cases]}


def _requests(size: int, largest: int) -> dict[str, Request]:
    requests = {
        "POST": Request("post", "/orders/new", token(WRITER)),
        "detail": Request("detail", "/orders", token(READER), ("1", str(LISTED))),
        "list": Request("same", "/orders", token(READER)),
    }
    if size == largest:
        few, many = token(FEW), token(MANY)
        requests["page of a user with few"] = Request("same", _PAGE, few)
        requests["page of a user with many"] = Request("same", _PAGE, many)
        requests["POST of a user with few"] = Request("post", "/orders/new", few)
        requests["POST of a user with many"] = Request("post", "/orders/new", many)
    return requests


def _measure(database: str, servers: dict[int, Server], plan: Plan, say: Say) -> list[Case]:
    """Interleaved rounds: the same request at every size, one after the other. Reads first: POSTs make ledgers grow."""
    turns = [
        (Case(database, _CONNECTIONS, f"{size:,} orders", kind), servers[size], request)
        for size in servers
        for kind, request in _requests(size, max(plan.sizes)).items()
    ]
    turns.sort(key=lambda turn: turn[0].request)
    reads = [turn for turn in turns if turn[2].script != "post"]
    posts = [turn for turn in turns if turn[2].script == "post"]
    for requests in (reads, posts):
        for round_number in range(plan.rounds + 1):
            for case, server, request in requests:
                seconds = plan.seconds if round_number else 1.0
                result = load(server, request, connections=_CONNECTIONS, seconds=seconds)
                if round_number:
                    case.rounds.append(result)
    for case, _, _ in turns:
        summary = case.report()["per_second"]
        say(f"{database:9} {case.server:>16}  {case.request:25} {summary['median']:9,.0f} requests/s")
    return [case for case, _, _ in turns]


@contextmanager
def _servers(database: str, plan: Plan, server_url: str | None, say: Say) -> Iterator[dict[int, Server]]:
    """A server on a ledger of each size."""
    with ExitStack() as stack:
        directory = stack.enter_context(sqlite_directory())
        servers = {}
        for size in plan.sizes:
            url = f"sqlite:///{directory}/{size}.db"
            if database == "postgres":
                assert server_url is not None
                url = stack.enter_context(postgres_database(server_url))
            started = time.monotonic()
            fill.ledger(url, _shares(size, plan))
            say(f"{database:9} {size:,} orders written in {time.monotonic() - started:.0f} s")
            servers[size] = stack.enter_context(serving(LEDGER, url, directory, workers=1))
        yield servers


def _shares(size: int, plan: Plan) -> list[fill.Share]:
    """Whose the orders are. Even the empty ledger has the few that the reader asks for."""
    shares = [(READER, LISTED)]
    left = size - LISTED
    if size == max(plan.sizes):
        shares += [(FEW, FEW_ORDERS), (MANY, plan.many)]
        left -= FEW_ORDERS + plan.many
    each, extra = divmod(max(0, left), len(_OTHERS))
    return shares + [(user, each + (place < extra)) for place, user in enumerate(_OTHERS)]
