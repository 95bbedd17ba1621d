"""``webhooks``, and what ``follow`` and ``doctor`` have to do with them, on real databases."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from ledger.storage import open_database
from tests.support.cli import CLI, ROOT, run_cli
from tests.support.receiver import Receiver, receiving
from tests.support.server import Server, bearer
from tests.support.shop import wait_until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[Server]:
    server = Server(tmp_path, database_url)
    server.environ["LEDGER_WEBHOOK_PRIVATE"] = "yes"
    server.start()
    yield server
    server.stop()


def run(server: Server, *arguments: str, code: int = 0, **settings: str) -> str:
    done = run_cli(*arguments, environ=server.environ | settings)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def place(server: Server) -> None:
    assert requests.post(f"{server.url}/orders/new", json=["1"], headers=bearer(1), timeout=30).status_code == 201


def test_an_endpoint_from_beginning_to_end(server: Server, receiver: Receiver) -> None:
    place(server)
    endpoint, secret = run(server, "webhooks", "add", receiver.url, "--after", "0").split()
    wait_until(receiver.received, "the first webhook")
    receiver.received()[0].verify(secret)
    rotated = run(server, "webhooks", "rotate", endpoint).strip()
    assert rotated != secret

    receiver.answer = lambda _: 410
    place(server)
    wait_until(lambda: "410 Gone" in run(server, "webhooks", "list"), "that it is disabled")
    assert f"`order-ledger webhooks enable {endpoint}`" in run_cli("doctor", environ=server.environ).stdout
    assert requests.get(f"{server.url}/readyz", timeout=30).status_code == 200, "a receiver's trouble is its own"
    receiver.answer = lambda _: 200
    run(server, "webhooks", "enable", endpoint)
    wait_until(lambda: len(receiver.received(200)) == 1, "what it has missed")
    receiver.received(200)[0].verify(rotated)
    receiver.received(200)[0].verify(secret)
    assert "no" in run(server, "webhooks", "list")
    assert "answered" not in run(server, "webhooks", "dead", endpoint)
    run(server, "webhooks", "replay", endpoint)
    run(server, "webhooks", "discard", endpoint)
    run(server, "webhooks", "remove", endpoint)
    assert endpoint not in run(server, "webhooks", "list")
    assert "sound" in run(server, "doctor")


def test_what_can_not_be_done_is_said_in_a_line(server: Server, receiver: Receiver) -> None:
    refused = run(server, "webhooks", "add", receiver.url, code=1, LEDGER_WEBHOOK_PRIVATE="no")
    assert refused == (
        "order-ledger: The URL must begin with https:// unless LEDGER_WEBHOOK_PRIVATE allows http://, too.\n"
    )
    assert "There is no webhook endpoint 'ep_none'" in run(server, "webhooks", "remove", "ep_none", code=1)


def test_follow_delivers_for_a_ledger_that_is_not_served(server: Server, receiver: Receiver, tmp_path: Path) -> None:
    place(server)
    server.stop()
    run(server, "webhooks", "add", receiver.url, "--after", "0")
    run(server, "follow", "--once")
    assert receiver.received() == []
    following = subprocess.Popen((*CLI, "follow"), env=server.environ, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(receiver.received, "the webhook")
    finally:
        following.send_signal(signal.SIGTERM)
    assert following.wait(60) == 0
    server.start()


def test_follow_ends_when_a_part_of_it_can_not_go_on(server: Server, receiver: Receiver, tmp_path: Path) -> None:
    """So that whoever watches over it starts it again."""
    place(server)
    server.stop()
    run(server, "webhooks", "add", receiver.url, "--after", "0")
    database = open_database(server.environ["LEDGER_DATABASE_URL"])
    with database.write() as cursor:
        cursor.execute("DROP TABLE webhook_deliveries")
    database.close()
    told = run(server, "follow", code=1)
    assert "the follower of the queue of webhooks has ended" in told
    server.start()


def test_a_server_that_may_not_sends_nothing_inside(server: Server, receiver: Receiver) -> None:
    """However the endpoint was registered: what counts is the setting of the process that sends."""
    server.stop()
    server.start(LEDGER_WEBHOOK_PRIVATE="no")
    run(server, "webhooks", "add", receiver.url, "--after", "0")
    place(server)

    def standing() -> dict[str, int]:
        [endpoint] = requests.get(f"{server.url}/webhook-endpoints", headers=bearer(91, "admin"), timeout=30).json()
        return {name: endpoint[name] for name in ("delivered", "waiting", "failing", "dead")}

    wait_until(lambda: standing()["failing"] == 1, "that it has failed")
    assert standing() == {"delivered": 0, "waiting": 1, "failing": 1, "dead": 0}
    assert receiver.received() == []
