"""A ledger that tells others of its orders, without a network and with a clock that is set by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.statuses import Status
from projections.webhooks.deliverer import Deliverer
from projections.webhooks.endpoints import Endpoint, Endpoints
from projections.webhooks.sending import Answer
from tests.support.storages import CUSTOMER, STAFF, Store

URL = "https://shop.example/hooks"
OTHER = "https://other.example/hooks"
OK, FAILS, GONE = Answer(204), Answer(500), Answer(410)


@dataclass
class Receiver:
    """Takes the place of the network; ``answer`` is by URL and body."""

    answer: Callable[[str, dict[str, object]], Answer] = lambda *_: OK
    sent: list[tuple[str, Mapping[str, str], str]] = field(default_factory=list)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append((url, headers, body.decode()))
        data: dict[str, object] = json.loads(body)["data"]
        return self.answer(url, data)

    @property
    def positions(self) -> list[int]:
        return [json.loads(body)["data"]["position"] for _, _, body in self.sent]


class Bench:
    """A ledger with its registry, a deliverer, and a clock that is set by hand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = datetime.now(UTC)
        self.receiver = Receiver()
        self.endpoints = Endpoints(
            store.database, private=False, resolver=lambda *_: ["93.184.216.34"], clock=lambda: self.now
        )
        self.deliverer = self.another()

    def another(self, reached: Callable[[str], None] = lambda _: None) -> Deliverer:
        return Deliverer(
            self.store.database, self.receiver.send, clock=lambda: self.now, jitter=lambda: 0.0, reached=reached
        )

    def step_once(self, reached: Callable[[str], None] = lambda _: None) -> None:
        """Another one claims once what is due, and notes what comes of it."""
        deliverer = self.another(reached)
        deliverer.step()
        deliverer.close()

    def die_at(self, place: str) -> None:
        """Another one dies as soon as it is there."""

        def die(where: str) -> None:
            if where == place:
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError):
            self.another(die).step()

    def order(self) -> int:
        return self.store.ledger.create_order([CartItem("1", 1)], actor=CUSTOMER, cause=Cause()).order_id

    def move(self, order_id: int, status: str) -> None:
        self.store.ledger.change_status(order_id, Status(status), actor=STAFF, cause=Cause())

    def deliver(self) -> None:
        while self.deliverer.step():
            pass

    def after(self, pause: timedelta) -> None:
        self.now += pause
        self.deliver()

    def only(self) -> Endpoint:
        [endpoint] = self.endpoints.all()
        return endpoint
