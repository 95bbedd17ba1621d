"""Many clients at once over two workers: every acknowledged change is in the log, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from ledger.storage import open_database
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from projections.check import differences
from tests.support.server import Server

CLIENTS = 16


def recorded(server: Server) -> list[RecordedEvent]:
    """The whole log, after checking that it is sound and that every view equals its replay."""
    database = open_database(server.environ["LEDGER_DATABASE_URL"])
    try:
        assert differences(database) == []
        with database.snapshot() as cursor:
            return list(read_log(cursor))
    finally:
        database.close()


def all_at_once(calls: list[Callable[[], requests.Response]]) -> list[requests.Response]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(lambda call: call(), calls))


def test_concurrent_creates_and_moves_lose_nothing(server: Server) -> None:
    clients = [server.client(user) for user in range(1, CLIENTS + 1)]
    staff = server.client(99, "staff")

    def create(number: int) -> requests.Response:
        headers = {"Idempotency-Key": f"create-{number}", "X-Request-Id": f"create-{number}"}
        return clients[number % CLIENTS].post(f"{server.url}/orders/new", json=["1", "2"], headers=headers, timeout=60)

    created = all_at_once([lambda number=number: create(number) for number in range(200)])
    assert {answer.status_code for answer in created} == {201}
    ids = sorted(answer.json()["id"] for answer in created)
    assert len(set(ids)) == 200

    def move(number: int) -> requests.Response:
        body = {"orderId": ids[number % 50], "status": ["awaiting payment", "payment failed", "declined"][number % 3]}
        headers = {"X-Request-Id": f"move-{number}"}
        return staff.post(f"{server.url}/orders/status-update", json=body, headers=headers, timeout=60)

    moved = all_at_once([lambda number=number: move(number) for number in range(200)])
    assert {answer.status_code for answer in moved} <= {200, 400}

    log = recorded(server)
    bodies: list[dict[str, Any]] = [json.loads(event.body) for event in log]
    in_log = {body["cause"]["request_id"] for body in bodies}
    acknowledged = {answer.headers["X-Request-Id"] for answer in created}
    changed = [event for event in log if event.type == "StatusChanged"]
    assert acknowledged <= in_log
    refused = {answer.headers["X-Request-Id"] for answer in moved if answer.status_code == 400}
    assert not refused & in_log
    # A move answered with 200 is in the log, unless the order stood there already.
    for answer in moved:
        if answer.status_code == 200 and answer.headers["X-Request-Id"] not in in_log:
            assert answer.json()["status"] in {
                json.loads(event.body)["status"] for event in changed if event.stream == f"order-{answer.json()['id']}"
            }
    assert len(log) == 200 + len(changed)
    assert [event.position for event in log] == list(range(1, len(log) + 1))


def test_concurrent_repeats_of_one_key_make_one_order(server: Server) -> None:
    client = server.client(1)
    headers = {"Idempotency-Key": "the-one"}
    answers = all_at_once(
        [lambda: client.post(f"{server.url}/orders/new", json=["3"], headers=headers, timeout=60)] * 50
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(recorded(server)) == 1
    assert len(client.get(f"{server.url}/orders").json()) == 1
