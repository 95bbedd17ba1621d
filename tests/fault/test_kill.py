"""Kill -9 of the whole server in the middle of writes: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import requests

from ledger.storage import open_database
from ledger.storage.recorder import read_log
from projections.check import differences
from tests.support.server import Server

ROUNDS = 20
CLIENTS = 4
SECONDS_OF_WRITES = 0.4


class Writer(threading.Thread):
    """Creates orders under keys of its own until it is told to stop, and then pays no more; keeps what was said."""

    def __init__(self, server: Server, user: int, round_number: int) -> None:
        super().__init__(daemon=True)
        self._client, self._url = server.client(user), server.url
        self._name = f"user-{user}-round-{round_number}"
        self.acknowledged: dict[str, int] = {}
        self.unanswered: list[str] = []
        self.unexpected: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            key = f"{self._name}-{number}"
            try:
                answer = self._post(key)
            except requests.RequestException:
                self.unanswered.append(key)
                return
            if answer.status_code == 201:
                self.acknowledged[key] = answer.json()["id"]
            else:
                self.unexpected.append(f"{key}: {answer.status_code} {answer.text}")

    def _post(self, key: str) -> requests.Response:
        headers = {"Idempotency-Key": key, "X-Request-Id": key}
        return self._client.post(f"{self._url}/orders/new", json=["1"], headers=headers, timeout=30)


@pytest.mark.slow
def test_kill_in_the_middle_of_writes(database_url: str, tmp_path: Path) -> None:
    server = Server(tmp_path, database_url)
    acknowledged: dict[str, int] = {}
    unanswered: list[str] = []
    for round_number in range(ROUNDS):
        server.start()
        writers = [Writer(server, user, round_number) for user in range(1, CLIENTS + 1)]
        for writer in writers:
            writer.start()
        time.sleep(SECONDS_OF_WRITES)
        server.kill()
        for writer in writers:
            writer.stopped.set()
            writer.join(60)
            assert writer.unexpected == []
            acknowledged.update(writer.acknowledged)
            unanswered.extend(writer.unanswered)
        assert any(writer.acknowledged for writer in writers), "the kill came before the first write"

    server.start()
    _retry_unanswered_and_check(server, acknowledged, unanswered)
    server.stop()


def _retry_unanswered_and_check(server: Server, acknowledged: dict[str, int], unanswered: list[str]) -> None:
    for key in unanswered:
        client = server.client(int(key.split("-")[1]))
        answer = client.post(f"{server.url}/orders/new", json=["1"], headers={"Idempotency-Key": key}, timeout=30)
        assert answer.status_code == 201, answer.text
        acknowledged[key] = answer.json()["id"]

    database = open_database(server.environ["LEDGER_DATABASE_URL"])
    assert differences(database) == []
    with database.snapshot() as cursor:
        log = list(read_log(cursor))
    database.close()
    created = [(json.loads(event.body)["cause"]["idempotency_key"], event.stream) for event in log]
    assert len(dict(created)) == len(created), "an order is there twice"
    for key, order_id in acknowledged.items():
        assert dict(created)[key] == f"order-{order_id}"

    sample = list(acknowledged.items())[:: max(1, len(acknowledged) // 20)]
    for key, order_id in sample:
        client = server.client(int(key.split("-")[1]))
        assert client.get(f"{server.url}/orders/{order_id}").json()["id"] == order_id
        replay = json.loads(server.command("replay", str(order_id), "--json").stdout)
        assert replay["events"][0]["body"]["cause"]["idempotency_key"] == key
