"""Keys, webhook secrets, token secrets and client secrets are planted, and then looked for in all that is kept or said.

A client secret may be in the answers to the order's owner and in the table ``payment_intents``, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from ledger.settings import Settings
from ledger.storage import Database
from scripts.bootstrap import build
from tests.support.busy import log_key
from tests.support.server import SECRET
from tests.support.shop import STAFF, Shop
from tests.support.stripe_http import Seen
from tests.support.stripe_objects import Object
from tests.support.stripe_server import SECRET_KEY, WEBHOOK_SECRET, Fault, StripeServer
from tests.support.stripe_webhooks import body_of, deliver, signature

OUTAGES = {401, 429, 500}
LOG_KEY = log_key()
FORMER = "whsec_former0123456789abcdef0123456789"
"""The webhook secret that is being replaced."""


class Indiscreet(StripeServer):
    """Repeats in its errors whatever it knows: the key it was sent, its own secrets and those of its intents."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.gibberish = False
        super().__init__()

    def handle(self, seen: Seen, authorization: str | None) -> tuple[int, Object, dict[str, str]] | None:
        answer = super().handle(seen, authorization)
        if self.gibberish:
            return 200, {"object": "payment_intent", "said": self._everything(authorization)}, {}
        if self.status is None or answer is None:
            return answer
        told = self._everything(authorization)
        intent = next(iter(self.intents.values()), None)
        error = {
            "type": "invalid_request_error",
            "code": told,
            "message": told,
            "param": told,
            "payment_intent": intent,
        }
        return self.status, {"error": error}, {"Request-Id": "req_1", "X-Told": told[:200].replace(",", ".")}

    def _everything(self, authorization: str | None) -> str:
        return " ".join(
            [str(authorization), WEBHOOK_SECRET, *(each["client_secret"] for each in self.intents.values())]
        )


@dataclass
class Ears:
    """Everything that was said or kept, with where."""

    heard: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, where: str, text: str) -> None:
        self.heard.append((where, text))

    def answer(self, response: requests.Response) -> requests.Response:
        """An answer that no secret belongs in, headers included."""
        name = f"{response.status_code} of {response.request.method} {response.request.path_url}"
        self.hear(name, f"{dict(response.headers)} {response.text}")
        return response

    def assert_none_of(self, secrets: dict[str, str]) -> None:
        assert self.heard
        found = [(name, where) for where, text in self.heard for name, secret in secrets.items() if secret in text]
        assert found == []


@pytest.fixture
def stripe() -> Iterator[Indiscreet]:
    with Indiscreet() as server:
        yield server


@pytest.fixture
def shop(database_url: str, tmp_path: Path, stripe: Indiscreet) -> Iterator[Shop]:
    opened = Shop(tmp_path, database_url, stripe)
    opened.server.environ |= {"LEDGER_LOG_LEVEL": "debug", "STRIPE_WEBHOOK_SECRET": f"{WEBHOOK_SECRET},{FORMER}"}
    opened.server.environ["LEDGER_LOG_KEY"] = LOG_KEY.secret_text
    opened.server.start()
    yield opened
    opened.server.stop()


@pytest.mark.slow
def test_no_secret_is_kept_or_said(shop: Shop, stripe: Indiscreet, tmp_path: Path) -> None:
    ears = Ears()
    what_goes_well(shop, stripe, ears)
    what_is_refused(shop, ears)
    what_fails(shop, stripe, ears)
    what_commands_say(shop, stripe, ears)
    for log in tmp_path.glob("server-*.log"):
        ears.hear(log.name, log.read_text())
    with shop.database() as database:
        for table, rows in kept(database):
            ears.hear(f"table {table}", rows)

    secrets = {"API key": SECRET_KEY, "webhook secret": WEBHOOK_SECRET, "former": FORMER, "token secret": SECRET}
    secrets |= {"log key": LOG_KEY.secret_text.rpartition("+")[2], "its seed": LOG_KEY.seed.decode("latin-1")}
    secrets |= {f"client secret of {intent_id}": each["client_secret"] for intent_id, each in stripe.intents.items()}
    assert len(secrets) > 8
    ears.assert_none_of(secrets)
    # Where they belong they are, or this test would look for the wrong values.
    assert shop.get("/orders").json()[-1]["clientSecret"] in secrets.values()


def what_goes_well(shop: Shop, stripe: Indiscreet, ears: Ears) -> None:
    orders = [shop.placed(f"key-{number}") for number in range(4)]
    for number, order_id in enumerate(orders):
        intent_id = shop.intent(order_id)["id"]
        if number == 0:
            stripe.cancel(intent_id)
        else:
            stripe.fail(intent_id)
            stripe.pay(intent_id)
    stripe.dispute(shop.intent(orders[1])["id"])
    for event in stripe.events:
        ears.answer(deliver(f"{shop.server.url}/webhooks/stripe", event, secrets=[FORMER]))
    ears.answer(shop.move(orders[1], "shipped", user=STAFF))
    assert ears.answer(shop.refund(orders[2], "back", 500)).status_code == 201
    ears.answer(shop.refund(orders[2], "back", 500))
    for path in ("/metrics", "/openapi.json", f"/orders/{orders[2]}/payment", "/readyz", "/problems/invalid-signature"):
        assert ears.answer(shop.get(path)).status_code == 200
    assert ears.answer(shop.get(f"/orders/{orders[2]}", user=STAFF)).json()["clientSecret"] == ""


def what_is_refused(shop: Shop, ears: Ears) -> None:
    url = f"{shop.server.url}/webhooks/stripe"
    event = body_of(shop.stripe.events[-1])
    for header in ("", signature(event, timestamp=1), signature(event, secrets=["whsec_other"])):
        ears.answer(requests.post(url, data=event, headers={"Stripe-Signature": header}, timeout=30))
    ears.answer(deliver(url, event[:-30]))
    ears.answer(shop.move(1, "completed"))
    ears.answer(shop.refund(1, "nothing to refund"))
    ears.answer(
        requests.get(f"{shop.server.url}/orders", headers={"Authorization": f"Bearer {SECRET[:9]}"}, timeout=30)
    )


def what_fails(shop: Shop, stripe: Indiscreet, ears: Ears) -> None:
    waiting = shop.placed("waiting")
    stripe.pay(shop.intent(waiting)["id"])

    def everything_that_asks_stripe() -> None:
        assert ears.answer(shop.place(f"fails-{len(ears.heard)}")).status_code >= 400
        assert ears.answer(shop.move(waiting, "order_paid")).status_code >= 400
        assert ears.answer(shop.move(waiting, "cancelled")).status_code >= 400
        assert ears.answer(shop.refund(waiting, f"fails-{len(ears.heard)}")).status_code >= 400

    for status in (400, 401, 402, 403, 404, 429, 500):
        stripe.status = status
        everything_that_asks_stripe()
        if status in OUTAGES:
            restarted(shop)  # with a breaker that knows nothing yet
    stripe.status = None
    stripe.gibberish = True
    everything_that_asks_stripe()
    stripe.gibberish = False
    restarted(shop)
    for fault in (Fault.drop("after"), Fault.answer(500, "after")):
        stripe.inject(fault, times=50)
        assert ears.answer(shop.place(f"fails-{fault.status}")).status_code == 503
        stripe.heal()
    stripe.stop()
    everything_that_asks_stripe()
    stripe.start()
    ears.answer(shop.get("/metrics"))
    restarted(shop)


def what_commands_say(shop: Shop, stripe: Indiscreet, ears: Ears) -> None:
    shop.age()
    commands = [
        ("settings",),
        ("settings", "--json"),
        ("doctor",),
        ("replay", "1"),
        ("replay", "1", "--json"),
        ("pay", "1"),
        ("reconcile",),
        ("reconcile", "--fix", "--all"),
        ("migrate",),
        ("follow", "--once"),
        ("verify",),
        ("export", "-"),
        ("rebuild",),
    ]
    for command in commands:
        run = shop.server.command(*command)
        ears.hear(" ".join(command), run.stdout + run.stderr)
    stripe.status = 401
    refused = shop.server.command("reconcile")
    assert refused.returncode == 1
    stripe.status = None
    ears.hear("reconcile with another's key", refused.stdout + refused.stderr)


def restarted(shop: Shop) -> None:
    shop.server.stop()
    shop.server.start()


def kept(database: Database) -> Iterator[tuple[str, str]]:
    """Every table with its rows as JSON, without the one column that client secrets belong in."""
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgres": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }[database.dialect]
    with database.snapshot() as cursor:
        tables = [row[0] for row in cursor.execute(query)]
        assert {"events", "orders", "payments", "payment_intents", "order_reservations", "idempotency"} <= set(tables)
        for table in tables:
            columns = "order_id, intent_id, amount, currency" if table == "payment_intents" else "*"
            rows = cursor.execute(f"SELECT {columns} FROM {table}")
            yield table, json.dumps(rows, default=lambda raw: bytes(raw).decode("latin-1"))


@pytest.mark.parametrize("name", ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "LEDGER_JWT_SECRET"])
def test_settings_that_make_no_sense_are_not_repeated(tmp_path: Path, stripe: Indiscreet, name: str) -> None:
    shop = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", stripe)
    shop.server.environ[name] = "planted\tsecret"
    for command in ("doctor", "reconcile", "settings", "serve"):
        run = shop.server.command(command)
        assert run.returncode != 0 or command == "settings"
        assert "planted" not in run.stdout + run.stderr


def test_a_key_of_the_log_that_makes_no_sense_is_not_repeated(tmp_path: Path, stripe: Indiscreet) -> None:
    shop = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", stripe)
    for mangled in ("planted", "PRIVATE+KEY+planted+00000000+planted"):
        shop.server.environ["LEDGER_LOG_KEY"] = mangled
        run = shop.server.command("serve", "--bind", "127.0.0.1:0")
        assert run.returncode == 2
        assert "planted" not in run.stdout + run.stderr


def test_what_holds_secrets_does_not_show_them(tmp_path: Path, stripe: Indiscreet) -> None:
    shop = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", stripe)
    names = ("LEDGER_", "STRIPE_")
    settings = Settings.from_env({key: value for key, value in shop.server.environ.items() if key.startswith(names)})
    with build(settings) as runtime:
        runtime.migrate()
        intent = runtime.gateway.create_intent(1, 1999, "usd", "key")
        shown = f"{settings!r} {runtime!r} {runtime.gateway!r} {intent!r} {runtime.services!r}"
    for secret in (SECRET_KEY, WEBHOOK_SECRET, SECRET, intent.client_secret):
        assert secret not in shown
