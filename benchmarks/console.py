"""The console's pages at a ledger of a million orders: the time that the server takes for one, in one thread."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient

from benchmarks import fill
from benchmarks.databases import postgres_database, sqlite_directory
from benchmarks.measure import Say, Summary
from benchmarks.servers import SECRET, token
from ledger.settings import Settings
from scripts.bootstrap import Runtime, build

_USERS = range(1, 5001)
_ADMIN = 9001


@dataclass(frozen=True)
class Plan:
    """How large, and how often each page is asked for."""

    orders: int = 1_000_000
    rounds: int = 15


def run(plan: Plan, server_url: str | None, say: Say) -> dict[str, Any]:
    """Everything, on each database."""
    cases: list[dict[str, Any]] = []
    for database in ("postgres", "sqlite"):
        with _ledger(database, plan, server_url, say) as runtime:
            cases += _measure(database, runtime, plan, say)
    return {"orders": plan.orders, "cases": cases}


def _pages(orders: int) -> Mapping[str, str]:
    """Addresses by what they are; most filters match nothing, so that they look as far as a page looks."""
    middle = orders // 2
    return {
        "overview": "",
        "orders": "/orders",
        "orders of a user": "/orders?user=17",
        "orders by status": "/orders?status=shipped",
        "orders by common amount": "/orders?status=pending&from=2020-01-01&min=1.00",
        "a user's by amount": "/orders?user=17&min=1000.00",
        "orders by day and amount": "/orders?from=2020-01-01&to=2020-01-31&min=1000.00",
        "an order": f"/orders/{middle}",
        "the log's end": "/log",
        "the log by user": f"/log?user=4999&after={middle}",
        "an event": f"/log/{middle}",
        "an order's proofs": f"/proof?order={middle}",
    }


def _measure(database: str, runtime: Runtime, plan: Plan, say: Say) -> Iterator[dict[str, Any]]:
    """Interleaved rounds; the first is not counted."""
    browser = _signed_in(runtime)
    times: dict[str, list[float]] = {page: [] for page in _pages(plan.orders)}
    for _ in range(plan.rounds + 1):
        for page, path in _pages(plan.orders).items():
            started = time.perf_counter()
            answer = browser.get(f"/console{path}")
            times[page].append((time.perf_counter() - started) * 1000)
            if answer.status_code != 200:
                raise AssertionError(f"{page}: {answer.status}")
    for page, each in times.items():
        summary = Summary.of(each[1:])
        assert summary is not None
        say(f"{database:9} {page:26} {summary.median:7.1f} ms")
        yield {"database": database, "page": page, "ms": summary._asdict(), "first_ms": each[0], "rounds": plan.rounds}


def _signed_in(runtime: Runtime) -> FlaskClient:
    browser = runtime.app().test_client()
    found = re.search(r'name="form_token" value="(\w+)"', browser.get("/console/sign-in").text)
    sent = {"token": token(_ADMIN, "admin"), "form_token": found[1] if found else ""}
    if browser.post("/console/sign-in", data=sent).status_code != 303:
        raise AssertionError("nobody could sign in")
    return browser


@contextmanager
def _ledger(database: str, plan: Plan, server_url: str | None, say: Say) -> Iterator[Runtime]:
    """A ledger of so many orders, with its transparency log."""
    with ExitStack() as stack:
        directory = stack.enter_context(sqlite_directory())
        url = f"sqlite:///{directory}/console.db"
        if database == "postgres":
            assert server_url is not None
            url = stack.enter_context(postgres_database(server_url))
        each, extra = divmod(plan.orders, len(_USERS))
        started = time.monotonic()
        fill.ledger(url, [(user, each + (user <= extra)) for user in _USERS])
        settings = {"LEDGER_DATABASE_URL": url, "LEDGER_JWT_SECRET": SECRET, "LEDGER_VAR_DIR": str(directory)}
        runtime = stack.enter_context(build(Settings.from_env(settings)))
        follower, search = runtime.follower(), runtime.search_follower()
        while follower.step() or search.step():
            pass
        say(f"{database:9} {plan.orders:,} orders written and followed in {time.monotonic() - started:.0f} s")
        yield runtime
