"""The console's pages at a ledger of a million orders: the time that the server takes for one, in one thread."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from flask.testing import FlaskClient

from benchmarks import fill
from benchmarks.databases import postgres_database, sqlite_directory
from benchmarks.measure import Say, Summary
from benchmarks.servers import SECRET, token
from benchmarks.shop import BUSY, FORMER, MANY, QUIET, SOME, Shop, day
from ledger.settings import Settings
from scripts.bootstrap import Runtime, build

_ADMIN = 9001
_ORDERS, _EVENTS = r'"/console/orders/\d+"', r'"/console/log/\d+"'
_PERIODS, _VERSIONS, _LEAVES, _PROOFS = '<th scope="row">', ">position ", 'id="leaf"', 'class="card proof"'


@dataclass(frozen=True)
class Plan:
    """How large, and how often each page is asked for."""

    orders: int = 1_000_000
    rounds: int = 15


class _Page(NamedTuple):
    """An address below the console's; ``row`` matches once for each thing that the page has found."""

    path: str
    row: str


def run(plan: Plan, server_url: str | None, say: Say) -> dict[str, Any]:
    """Everything, on each database."""
    cases: list[dict[str, Any]] = []
    events = 0
    for database in ("postgres", "sqlite"):
        with _ledger(database, plan, server_url, say) as runtime:
            events = runtime.services.health.head()
            cases += _measure(database, runtime, plan, say)
    return {"orders": plan.orders, "events": events, "cases": cases}


def _pages(shop: Shop) -> Mapping[str, _Page]:
    """Pages by what they are. Each finds something, most of them only after they have looked as far as a page looks."""
    middle, that_day = shop.orders // 2, f"from={day(365)}&to={day(365)}"
    some, former, many = (f"{amount / 100:.2f}" for amount in (SOME, FORMER, MANY))
    searches = {
        "orders": "",
        "orders of a user": f"user={BUSY}",
        "a user's by status": f"user={BUSY}&status=declined",
        "a user's by amount": f"user={BUSY}&min={many}",
        "orders by status": "status=declined",
        "orders by status, further on": f"status=completed&before={middle}",
        "by status and day": f"status=completed&{that_day}",
        "by amount": f"min={many}",
        "by day and amount": f"{that_day}&min={some}&max={some}",
        "by status, day and amount": f"status=completed&{that_day}&min={some}&max={some}",
        "by common amount": f"min={former}&max={former}",
        "by status and common amount": f"status=completed&min={former}&max={former}",
    }
    logs = {
        "the log's end": "",
        "the log by user": f"user={QUIET}",
        "the log by type": "type=LeadStatusesArranged",
        "the log by user and type": f"user={QUIET}&type=OrderCreated",
        "the log of an order": f"stream=order-{shop.longest}",
    }
    return {
        "overview": _Page("", _PERIODS),
        **{name: _Page(f"/orders?{query}", _ORDERS) for name, query in searches.items()},
        "an order": _Page(f"/orders/{middle}", _VERSIONS),
        "an order with 100 events": _Page(f"/orders/{shop.longest}", _VERSIONS),
        "the same as it was": _Page(f"/orders/{shop.longest}?version=50", _VERSIONS),
        **{name: _Page(f"/log?{query}", _EVENTS) for name, query in logs.items()},
        "an event": _Page(f"/log/{middle}", _LEAVES),
        "an order's proofs": _Page(f"/proof?order={middle}", _PROOFS),
        "proofs of 100 events": _Page(f"/proof?order={shop.longest}", _PROOFS),
    }


def _measure(database: str, runtime: Runtime, plan: Plan, say: Say) -> Iterator[dict[str, Any]]:
    """Interleaved rounds; the first is not counted. A page that finds nothing is not what was to be measured."""
    browser, pages = _signed_in(runtime), _pages(Shop(plan.orders))
    times: dict[str, list[float]] = {name: [] for name in pages}
    rows: dict[str, int] = {}
    for _ in range(plan.rounds + 1):
        for name, page in pages.items():
            started = time.perf_counter()
            answer = browser.get(f"/console{page.path}")
            times[name].append((time.perf_counter() - started) * 1000)
            rows[name] = len(re.findall(page.row, answer.text))
            if answer.status_code != 200 or not rows[name]:
                raise AssertionError(f"{name}: {answer.status}, and {rows[name]} found")
    for name, each in times.items():
        summary = Summary.of(each[1:])
        assert summary is not None
        say(f"{database:9} {name:28} {rows[name]:3} found {summary.median:7.1f} ms")
        measured = {"rows": rows[name], "ms": summary._asdict(), "first_ms": each[0], "rounds": plan.rounds}
        yield {"database": database, "page": name, **measured}


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
        started = time.monotonic()
        fill.write(url, Shop(plan.orders).batches())
        settings = {"LEDGER_DATABASE_URL": url, "LEDGER_JWT_SECRET": SECRET, "LEDGER_VAR_DIR": str(directory)}
        runtime = stack.enter_context(build(Settings.from_env(settings)))
        follower, search = runtime.follower(), runtime.search_follower()
        while follower.step() or search.step():
            pass
        say(f"{database:9} {plan.orders:,} orders written and followed in {time.monotonic() - started:.0f} s")
        yield runtime
