"""Metrics of known traffic: right for several workers, and not less when one of them is killed."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.server import Server

PLACED, REPEATED = 24, 5


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

    killed = psutil.Process(server.running.process.pid).children()[0]
    os.kill(killed.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while killed.pid in {child.pid for child in psutil.Process(server.running.process.pid).children()}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for number in range(PLACED, PLACED + 8):
        while True:
            try:
                assert place(server, number).status_code == 201
                break
            except requests.ConnectionError:  # it went to the one that was killed
                assert time.monotonic() < deadline
    after = scrape(server)
    assert after["ledger_appends_total"] == PLACED + 8
    assert after["ledger_appends_waiting"] == 0
    assert {name for name, value in counted.items() if "total" in name and after.get(name, 0) < value} == set()
    assert not [name for name in after if re.search(r"pid=", name)]
