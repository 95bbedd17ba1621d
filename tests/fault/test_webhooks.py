"""Webhooks under fire: everybody who delivers is killed again and again, and the receiver has its troubles, too."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack, closing
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


class Troubled:
    """What a receiver answers that is slow, fails, and hangs up; ``asked`` when it has begun to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._rng = random.Random(7)

    def __call__(self, _: Received) -> int:
        self.asked.set()
        time.sleep(self._rng.choice((0.05, 0.05, 0.2)))
        return self._rng.choice((200, 204, 204, 204, 503, DROP))


class Shopper(threading.Thread):
    """Places orders, moves them on and cancels them, until the server is gone."""

    def __init__(self, server: Server, user: int) -> None:
        super().__init__(daemon=True)
        self._client, self._url = server.client(user), server.url

    def run(self) -> None:
        try:
            while True:
                order_id = self._client.post(f"{self._url}/orders/new", json=["1"], timeout=30).json()["id"]
                for status in ("awaiting_payment", "cancelled"):
                    move = {"orderId": order_id, "status": status}
                    self._client.post(
                        f"{self._url}/orders/status-update", json=move, headers=bearer(90, "staff"), timeout=30
                    )
                    time.sleep(0.05)
        except OSError:  # as requests' own errors are
            return


@pytest.mark.slow
def test_kill_while_delivering(database_url: str, tmp_path: Path) -> None:
    troubled, interrupted = Troubled(), 0
    server = Server(tmp_path, database_url)
    server.environ["LEDGER_WEBHOOK_PRIVATE"] = "yes"
    server.start()
    with receiving(troubled) as receiver, ExitStack() as ended:
        ended.callback(server.stop)
        _, secret = Endpoints(open_database(database_url), private=True).register(receiver.url)
        for _ in range(ROUNDS):
            shoppers = [Shopper(server, user) for user in (1, 2, 3)]
            for shopper in shoppers:
                shopper.start()
            time.sleep(SECONDS_OF_WORK)
            troubled.asked.clear()
            assert troubled.asked.wait(60)
            server.kill()
            interrupted += _claimed(database_url)
            for shopper in shoppers:
                shopper.join(60)
            server.start()
        receiver.answer = lambda _: 204
        _hasten(database_url)
        wait_until(lambda: _all_told(database_url), "that everything is told")
        server.stop()
        assert interrupted, "nobody was killed while it was sending"
        _check(database_url, receiver, secret)


def _claimed(url: str) -> int:
    """How many deliveries somebody has claimed, and noted nothing of."""
    with closing(open_database(url)) as database, database.read() as cursor:
        [(count,)] = cursor.execute("SELECT count(*) FROM webhook_deliveries WHERE attempts > 0 AND error = ''")
    return int(count)


def _hasten(url: str) -> None:
    """Nobody waits for pauses, and for leases of the dead. Row by row, as all at once might wait for one another."""
    with closing(open_database(url)) as database:
        with database.read() as cursor:
            waiting = cursor.execute("SELECT position FROM webhook_deliveries WHERE next_at <> ''")
        for (position,) in waiting:
            with database.transaction() as cursor:
                cursor.execute("UPDATE webhook_deliveries SET next_at = '' WHERE position = ?", (position,))


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
    assert max(event.version for event in told_of.values()) == 3, "an order that was moved and moved again"
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
