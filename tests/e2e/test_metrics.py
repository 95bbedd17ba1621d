"""Metrics of known traffic: right for several workers, and not less when one of them is killed."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.server import Server
from tests.support.shop import Shop, wait_until
from tests.support.stripe_server import Fault, StripeServer
from tests.support.stripe_webhooks import deliver

PLACED, REPEATED = 24, 5
CALL_COUNT = 'payment_gateway_call_duration_seconds_count{operation="create_intent"}'


@pytest.fixture(params=[2, 4])
def server(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Server]:
    running = Server(tmp_path, database_url, workers=request.param)
    running.start()
    yield running
    running.stop()


def scrape(server: Server) -> dict[str, float]:
    text = requests.get(f"{server.url}/metrics", timeout=30).text
    pairs = (line.rpartition(" ")[::2] for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def workers(server: Server) -> set[int]:
    return {child.pid for child in psutil.Process(server.running.process.pid).children()}


def kill_a_worker(server: Server) -> None:
    """Kill -9; comes back when the server has noticed."""
    killed = min(workers(server))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in workers(server), "the end of a worker")


def place(server: Server, number: int) -> requests.Response:
    with server.client(1) as client:  # a connection of its own, so that all workers get some
        key = {"Idempotency-Key": f"k{number}"}
        return client.post(f"{server.url}/orders/new", json=["1"], headers=key, timeout=30)


def test_known_traffic(server: Server) -> None:
    for number in range(PLACED):
        assert place(server, number).status_code == 201
    for _ in range(REPEATED):
        assert place(server, 0).headers["Idempotency-Replayed"] == "true"
    counted = scrape(server)
    orders = 'http_requests_total{method="POST",route="/orders/new",status="201"}'
    assert counted[orders] == PLACED + REPEATED
    assert counted["ledger_appends_total"] == counted["ledger_events_appended_total"] == PLACED
    assert counted["ledger_append_batch_size_sum"] == PLACED
    assert counted["ledger_append_duration_seconds_count"] <= PLACED
    assert counted["ledger_idempotent_replays_total"] == REPEATED
    assert counted["ledger_append_conflicts_total"] == 0
    assert counted["ledger_appends_waiting"] == 0
    assert counted["ledger_head_position"] == PLACED
    assert counted["ledger_storage_up"] == 1
    assert counted["ledger_view_findings"] == 0

    kill_a_worker(server)
    for number in range(PLACED, PLACED + 8):
        wait_until(lambda number=number: placed_again(server, number), "a worker in its place")
    after = still(server)
    assert after["ledger_appends_total"] == PLACED + 8
    assert after["ledger_appends_waiting"] == 0
    assert {name for name, value in counted.items() if "total" in name and after.get(name, 0) < value} == set()
    assert not [name for name in after if re.search(r"pid=", name)]


def arrange(server: Server, user: int, place: int) -> requests.Response:
    with server.client(user) as client:
        moved = {"id": 4, "statusOrder": place}
        return client.put(f"{server.url}/leads/statuses/order", json=moved, timeout=30)


def test_what_waits_to_be_committed(tmp_path: Path) -> None:
    server = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db", workers=2)
    server.start(LEDGER_DB_TIMEOUT="3")

    def waiting(count: int) -> bool:
        return scrape(server)["ledger_appends_waiting"] == count

    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other, ThreadPoolExecutor() as many:
        for target, statuses, ended_by in ((1, {200}, "ROLLBACK"), (2, {503}, "")):
            other.execute("BEGIN IMMEDIATE")
            answers = [many.submit(arrange, server, user, target) for user in (1, 2, 3)]
            wait_until(lambda: waiting(3), "they wait")
            other.execute(ended_by)
            assert {answer.result().status_code for answer in answers} == statuses
            wait_until(lambda: waiting(0), "nobody waits")
    server.stop()


def placed_again(server: Server, number: int) -> bool:
    """Whether an order is placed; not when its connection went to the worker that was killed."""
    with suppress(requests.ConnectionError):
        return place(server, number).status_code == 201
    return False


def still(server: Server) -> dict[str, float]:
    """A scrape while a worker is replaced: until its successor is there, connections to it break."""
    for _ in range(600):
        with suppress(requests.ConnectionError):
            return scrape(server)
        time.sleep(0.1)
    raise AssertionError("nobody answers")


@pytest.mark.parametrize("count", [2, 4])
def test_known_traffic_at_stripe(count: int, tmp_path: Path) -> None:
    with StripeServer() as stripe:
        shop = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", stripe, workers=count)
        shop.server.start()
        order = shop.placed()
        paid = stripe.pay(shop.intent(order)["id"])
        assert set(shop.tell(*paid, *paid)) == {200}
        assert deliver(f"{shop.server.url}/webhooks/stripe", paid[0], secrets=["whsec_" + "x" * 32]).status_code == 400
        known = scrape(shop.server)
        calls = 'payment_gateway_calls_total{operation="create_intent",outcome="%s"}'
        assert known[calls % "answered"] == known[CALL_COUNT] == 1
        assert known['payment_webhooks_total{outcome="recorded"}'] == 1
        assert known['payment_webhooks_total{outcome="forged"}'] == 1
        assert sum(value for name, value in known.items() if name.startswith("payment_webhooks_total")) == (
            2 * len(paid) + 1
        )
        assert known["payment_gateway_breaker_open"] == 0

        stripe.inject(Fault.answer(500, "before"), times=10_000)

        def all_have_given_up() -> bool:
            with ThreadPoolExecutor(8) as clients:
                assert {answer.status_code for answer in clients.map(lambda _: shop.place(), range(8))} == {503}
            return scrape(shop.server)["payment_gateway_breaker_open"] == count

        wait_until(all_have_given_up, "every worker leaves Stripe alone")
        assert all_have_given_up()  # and turns others away
        failing = scrape(shop.server)
        made = failing[calls % "failed"] + failing[calls % "turned away"]
        assert made == failing['http_requests_total{method="POST",route="/orders/new",status="503"}']
        assert made == failing[CALL_COUNT] - 1

        kill_a_worker(shop.server)
        others = count - 1
        wait_until(lambda: still(shop.server)["payment_gateway_breaker_open"] == others, "it is forgotten")
        after = still(shop.server)
        assert after[CALL_COUNT] == failing[CALL_COUNT]
        shop.server.stop()
