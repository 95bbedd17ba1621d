"""Webhooks under fire: everybody who delivers is killed again and again, and the receiver has its troubles, too."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.storage import open_database
from ledger.storage.recorder import read_log
from projections.check import differences
from projections.verify import verify_database
from projections.webhooks.endpoints import Endpoints
from projections.webhooks.payloads import TYPES
from tests.support.receiver import DROP, Received, Receiver, receiving
from tests.support.server import Server, bearer
from tests.support.shop import wait_until

ROUNDS = 4
SECONDS_OF_WORK = 1.0


def troubled(rng: random.Random) -> int:
    """What a receiver answers that is slow, fails, and hangs up."""
    time.sleep(rng.choice((0, 0, 0.01, 0.2)))
    return rng.choice((200, 204, 204, 204, 503, DROP))


class Shopper(threading.Thread):
    """Places orders and cancels them, until the server is gone."""

    def __init__(self, server: Server, user: int) -> None:
        super().__init__(daemon=True)
        self._client, self._url = server.client(user), server.url

    def run(self) -> None:
        try:
            while True:
                order_id = self._client.post(f"{self._url}/orders/new", json=["1"], timeout=30).json()["id"]
                move = {"orderId": order_id, "status": "cancelled"}
                self._client.post(
                    f"{self._url}/orders/status-update", json=move, headers=bearer(90, "staff"), timeout=30
                )
                time.sleep(0.05)
        except OSError:  # as requests' own errors are
            return


@pytest.mark.slow
def test_kill_while_delivering(database_url: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    server = Server(tmp_path, database_url)
    server.environ["LEDGER_WEBHOOK_PRIVATE"] = "yes"
    server.start()
    with receiving(lambda _: troubled(rng)) as receiver, ExitStack() as ended:
        ended.callback(server.stop)
        _, secret = Endpoints(open_database(database_url), private=True).register(receiver.url)
        for _ in range(ROUNDS):
            shoppers = [Shopper(server, user) for user in (1, 2, 3)]
            for shopper in shoppers:
                shopper.start()
            time.sleep(SECONDS_OF_WORK)
            server.kill()
            for shopper in shoppers:
                shopper.join(60)
            server.start()
        receiver.answer = lambda _: 204
        _hasten(database_url)
        wait_until(lambda: _all_told(database_url), "that everything is told")
        server.stop()
        _check(database_url, receiver, secret)


def _hasten(url: str) -> None:
    """Nobody waits for pauses, and for leases of the dead. Row by row, as all at once might wait for one another."""
    database = open_database(url)
    with database.read() as cursor:
        waiting = cursor.execute("SELECT position FROM webhook_deliveries WHERE next_at <> ''")
    for (position,) in waiting:
        with database.transaction() as cursor:
            cursor.execute("UPDATE webhook_deliveries SET next_at = '' WHERE position = ?", (position,))
    database.close()


def _all_told(url: str) -> bool:
    _hasten(url)
    database = open_database(url)
    [endpoint] = Endpoints(database, private=True).all()
    with database.read() as cursor:
        [(head,)] = cursor.execute("SELECT max(position) FROM events")
    database.close()
    return endpoint.position == head and not endpoint.waiting


def _check(url: str, receiver: Receiver, secret: str) -> None:
    arrived: list[Received] = [each for each in receiver.received() if each.status in {200, 204}]
    for webhook in arrived:
        webhook.verify(secret)
    database = open_database(url)
    with database.snapshot() as cursor:
        told_of = {event.position: event for event in read_log(cursor) if event.type in TYPES}
    assert len(told_of) > 2 * ROUNDS
    assert {webhook.position for webhook in arrived} == set(told_of), "an event is lost, or made up"
    assert len({webhook.id for webhook in arrived}) == len(told_of), "an id is not that of an event"
    versions: dict[int, int] = {}
    for webhook in arrived:
        order_id, version = webhook.data["orderId"], webhook.data["version"]
        known = versions.get(order_id, 0)
        assert version <= known + 1, f"order {order_id}: version {version} came after {known}"
        versions[order_id] = max(known, version)
    assert differences(database) == []
    assert verify_database(database, [], []).findings.faults == []
    database.close()
