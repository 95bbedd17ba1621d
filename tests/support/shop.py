"""A shop: the real server, the tests' own Stripe behind it, and what has to be true of the two in the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from click.testing import CliRunner

from ledger.storage import Database, open_database
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from projections.check import differences
from projections.verify import verify_database
from scripts import cli
from tests.support.server import Server
from tests.support.stripe_objects import Object
from tests.support.stripe_server import SECRET_KEY, WEBHOOK_SECRET, StripeServer
from tests.support.stripe_webhooks import deliver

CUSTOMER = 1
STAFF = 2
TIMEOUT = 60
AGED = 3600
"""Seconds, longer than the grace time of reconciliation."""


class Shop:
    """A server, on a database that processes can share, whose payment gateway is a Stripe that a test can break."""

    def __init__(self, directory: Path, database_url: str, stripe: StripeServer, *, workers: int = 2) -> None:
        self.stripe = stripe
        self.server = Server(directory, database_url, workers=workers)
        self.server.environ |= {
            "STRIPE_SECRET_KEY": SECRET_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "LEDGER_STRIPE_API_BASE": stripe.url,
            "LEDGER_STRIPE_TIMEOUT": "1",
        }

    def place(self, key: str | None = None, *, user: int = CUSTOMER) -> requests.Response:
        """Places an order of one product."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._send("POST", "/orders/new", user, json=["1"], headers=headers)

    def placed(self, key: str | None = None) -> int:
        """The id of a new order."""
        answer = self.place(key)
        assert answer.status_code == 201, answer.text
        order_id: int = answer.json()["id"]
        return order_id

    def move(self, order_id: int, status: str, *, user: int = CUSTOMER) -> requests.Response:
        """Asks for a move of an order."""
        return self._send("POST", "/orders/status-update", user, json={"orderId": order_id, "status": status})

    def refund(self, order_id: int, key: str, amount: int | None = None) -> requests.Response:
        """Asks for a refund as staff."""
        body = {} if amount is None else {"amountInCents": amount}
        return self._send("POST", f"/orders/{order_id}/refunds", STAFF, json=body, headers={"Idempotency-Key": key})

    def get(self, path: str, *, user: int = CUSTOMER) -> requests.Response:
        """Reads something."""
        return self._send("GET", path, user)

    def status(self, order_id: int) -> str:
        """An order's status."""
        return str(self.get(f"/orders/{order_id}").json()["status"])

    def payment(self, order_id: int) -> Object:
        """How an order's payment stands."""
        answer = self.get(f"/orders/{order_id}/payment")
        assert answer.status_code == 200, answer.text
        summary: Object = answer.json()
        return summary

    def tell(self, *events: Object) -> list[int]:
        """Delivers webhooks; returns how each was answered."""
        return [deliver(f"{self.server.url}/webhooks/stripe", event).status_code for event in events]

    def intent(self, order_id: int) -> Object:
        """The intent at Stripe which the order was recorded with."""
        created = next(body for body in self.bodies() if body.get("order_id") == order_id)
        return self.stripe.intent(created["payment_intent_id"])

    def reconcile(self, *options: str, code: int = 0) -> list[str]:
        """Runs the command; returns what it found, a line each."""
        run = CliRunner().invoke(cli.main, ("reconcile", *options), env=self.server.environ)
        assert run.exit_code == code, run.output
        return run.stdout.splitlines()

    def age(self) -> None:
        """All intents and reservations grow older than the time in which an order may still be committed."""
        with self.stripe.lock:
            for intent in self.stripe.intents.values():
                intent["created"] -= AGED
        with self.database() as database, database.write() as cursor:
            cursor.execute("UPDATE order_reservations SET reserved_at = '2026-01-01T00:00:00.000000Z'")

    def log(self) -> list[RecordedEvent]:
        """Every event."""
        with self.database() as database, database.snapshot() as cursor:
            return list(read_log(cursor))

    def bodies(self) -> list[Object]:
        """The body of every event."""
        return [json.loads(event.body) for event in self.log()]

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The server's database, from beside it."""
        opened = open_database(self.server.environ["LEDGER_DATABASE_URL"])
        try:
            yield opened
        finally:
            opened.close()

    def assert_settled(self) -> None:
        """After ``reconcile --fix`` the two agree: nothing is paid twice or lost, no orphan stays, all is sound."""
        self.age()
        self.reconcile("--fix")
        assert self.reconcile() == []
        with self.database() as database:
            assert differences(database) == []
            assert verify_database(database, [], []).findings.faults == []
        orders = {body["payment_intent_id"]: body["order_id"] for body in self.bodies() if "lines" in body}
        received = [body for body in self.bodies() if body.get("kind") == "received"]
        assert len({body["payment_intent_id"] for body in received}) == len(received), "a payment is recorded twice"
        for intent_id, intent in self.stripe.intents.items():
            if intent_id in orders:
                told = self.payment(orders[intent_id])
                assert told["receivedInCents"] == intent["amount_received"]
                assert told["anomalies"] == 0
            else:
                assert intent["status"] == "canceled", f"{intent_id} can be paid, or was, for no order"
        assert set(orders) <= set(self.stripe.intents)

    def _send(self, method: str, path: str, user: int, **request: Any) -> requests.Response:
        with self.server.client(user, "staff" if user == STAFF else None) as client:
            return client.request(method, self.server.url + path, timeout=TIMEOUT, **request)


@contextmanager
def in_background(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Runs it in a thread beside the block; the list holds what it returned, or raised, once the block has ended."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(work())
        except requests.RequestException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        thread.join(TIMEOUT)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits until something has come about."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"{what}: it did not come about"
        time.sleep(0.02)
