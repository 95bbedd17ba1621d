"""A server under load while its views are rebuilt: every request is answered, and answered rightly."""

from __future__ import annotations

import threading

import pytest
import requests

from tests.support.server import Server

CLIENTS = 4


class Shopper(threading.Thread):
    """Places, reads, cancels and lists orders until told to stop; keeps what was not as it should be."""

    def __init__(self, server: Server, user: int) -> None:
        super().__init__(daemon=True)
        self._client, self._url = server.client(user), server.url
        self._placed = 0
        self.faults: list[str] = []
        self.stopped = threading.Event()
        self.at_it = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set() and not self.faults:
            try:
                self._shop()
            except requests.RequestException as error:
                self.faults.append(repr(error))
            self.at_it.set()

    def _shop(self) -> None:
        order = self._asked("POST", "/orders/new", 201, json=["1"])["id"]
        self._placed += 1
        self._asked("POST", "/orders/status-update", 200, json={"orderId": order, "status": "cancelled"})
        if self._asked("GET", f"/orders/{order}", 200)["status"] != "cancelled":
            self.faults.append(f"order {order} is not cancelled after it was")
        listed = self._asked("GET", "/orders", 200)
        if len(listed) != min(self._placed, 1000):
            self.faults.append(f"{len(listed)} orders are listed, of {self._placed}")

    def _asked(self, method: str, path: str, expected: int, **sent: object) -> dict[str, object]:
        answer = self._client.request(method, self._url + path, timeout=30, **sent)  # type: ignore[arg-type]
        if answer.status_code != expected:
            self.faults.append(f"{method} {path}: {answer.status_code} {answer.text}")
            self.stopped.set()
        document: dict[str, object] = answer.json()
        return document


@pytest.mark.slow
def test_every_request_is_answered_while_views_are_rebuilt(server: Server) -> None:
    shoppers = [Shopper(server, user) for user in range(1, CLIENTS + 1)]
    for shopper in shoppers:
        shopper.start()
    assert all(shopper.at_it.wait(60) for shopper in shoppers)
    for _ in range(3):
        assert server.command("rebuild").returncode == 0
        assert server.command("rebuild", "orders", "--rollback").returncode == 0
    for shopper in shoppers:
        shopper.stopped.set()
        shopper.join(60)
    assert [fault for shopper in shoppers for fault in shopper.faults] == []
    sound = server.command("doctor")
    assert sound.returncode == 0, sound.stdout
