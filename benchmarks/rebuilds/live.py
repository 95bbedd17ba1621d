"""A ledger that is used while a view of it is rebuilt: eight clients write and read, and every answer is looked at."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.measure import Say, percentile
from benchmarks.rebuilds import process
from benchmarks.servers import LEDGER, serving, token

CLIENTS = 8
_STAFF, _READER = 1_000_001, 7
_READ = _READER - 1
"""An order of the reader: see ``history.user_of``."""

_TIMEOUT = 60
_LONG = 100


class Answer(NamedTuple):
    """One request: when its answer came, whether it writes, how long it took, and what was wrong with the answer."""

    at: float
    writes: bool
    milliseconds: float
    fault: str | None


@dataclass(frozen=True)
class Window:
    """What all clients saw in a stretch of time."""

    seconds: float
    answers: Sequence[Answer]

    def longest_write(self) -> Answer | None:
        """The write that took longest."""
        return max((each for each in self.answers if each.writes), key=lambda each: each.milliseconds, default=None)

    def report(self) -> dict[str, Any]:
        """For the report; times are in milliseconds."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 1), "per_second": len(self.answers) / self.seconds}
        for name, writes in (("write", True), ("read", False)):
            times = sorted(answer.milliseconds for answer in self.answers if answer.writes is writes)
            for part, fraction in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                found[f"{name}_{part}_ms"] = round(percentile(times, fraction), 2) if times else None
        found["writes_over_100_ms"] = sum(answer.writes and answer.milliseconds > _LONG for answer in self.answers)
        faults = [answer.fault for answer in self.answers if answer.fault]
        return found | {"failed": len(faults), "failures": sorted(set(faults))[:5]}


class Client(threading.Thread):
    """Places orders, moves them, and reads an order and a page that are to stay as they are: nobody changes them."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self._stop_now = threading.Event()
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT)
        self._customer, self._staff = token(2_000_000 + number), token(_STAFF, role="staff")
        self._reader = token(_READER)
        self._known: dict[str, bytes] = {}

    def stop(self) -> None:
        """Lets it end after the request it is at."""
        self._stop_now.set()
        self.join()
        self._connection.close()

    def run(self) -> None:
        """Four requests in turn until told to stop."""
        order_id = 0
        for turn in cycle(range(4)):
            if self._stop_now.is_set():
                return
            if turn == 0:
                order_id = json.loads(self._ask("POST", "/orders/new", self._customer, ["1"]) or b'{"id":0}')["id"]
            elif turn == 1:
                self._ask("GET", f"/orders/{_READ}", self._reader)
            elif turn == 2:
                body = {"orderId": order_id, "status": "awaiting_payment"}
                self._ask("POST", "/orders/status-update", self._staff, body)
            else:
                self._ask("GET", "/orders?limit=20", self._reader)

    def _ask(self, method: str, path: str, bearer: str, body: Any = None) -> bytes | None:
        headers = {"Authorization": f"Bearer {bearer}"}
        payload = None if body is None else json.dumps(body)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        before = perf_counter()
        try:
            self._connection.request(method, path, payload, headers)
            response = self._connection.getresponse()
            answer = response.read()
            fault = None if response.status in {200, 201} else f"{method} {path.partition('?')[0]}: {response.status}"
        except (OSError, HTTPException) as error:
            self._connection.close()
            answer, fault = b"", f"{method} {path}: {type(error).__name__}"
        now = perf_counter()
        if fault is None and method == "GET" and self._known.setdefault(path, answer) != answer:
            fault = f"{method} {path}: another answer than before"
        self.answers.append(Answer(now, method == "POST", (now - before) * 1000, fault))
        return None if fault else answer


def measure(database: str, url: str, directory: Path, seconds: float, say: Say) -> dict[str, Any]:
    """Serves the ledger at this URL, and has it used before, during and after a rebuild."""
    with serving(LEDGER, url, directory, pinned=False) as server, _clients(server.url) as clients:
        time.sleep(1)  # for connections and caches
        before = _window(clients, lambda: time.sleep(seconds))
        rebuilding = process.started(url)
        took = None

        def finish() -> None:
            nonlocal took
            took = process.finished(rebuilding)

        during = _window(clients, finish)
        after = _window(clients, lambda: time.sleep(seconds))
    assert took is not None
    found = {"before": before.report(), "during": during.report(), "after": after.report()}
    worst = during.longest_write()
    at_worst = took.phases_between(worst.at - worst.milliseconds / 1000, worst.at) if worst else []
    normal = (found["before"]["per_second"] + found["after"]["per_second"]) / 2
    ratio = found["during"]["per_second"] / normal
    say(
        f"{database:9} in use: {ratio:.2f} of the normal requests/s, longest write"
        f" {found['during']['write_max_ms']:.0f} ms, {found['during']['failed']} failed"
    )
    return {
        "database": database,
        "clients": CLIENTS,
        "rebuild": took._asdict(),
        "ratio": ratio,
        "windows": found,
        "phases_at_longest_write": at_worst,
    }


def _window(clients: Sequence[Client], meanwhile: Callable[[], None]) -> Window:
    begun = perf_counter()
    meanwhile()
    ended = perf_counter()
    # What began within it counts in it, when it has come to its end: a stall may outlast what caused it.
    while any(not client.answers or client.answers[-1].at < ended for client in clients):
        time.sleep(0.05)
    answers = [
        answer
        for client in clients
        for answer in list(client.answers)
        if begun <= answer.at - answer.milliseconds / 1000 < ended
    ]
    return Window(ended - begun, answers)


@contextmanager
def _clients(url: str) -> Iterator[list[Client]]:
    clients = [Client(url, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stop()
