"""Every worker of a real server follows its log: the tree and the checkpoints come by themselves, kills included."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from ledger.storage import Database, open_database
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from projections.transparency import log_sizes
from projections.tree import latest_note
from projections.verify import verify_database
from tests.support.busy import log_key
from tests.support.cli import CLI, ROOT
from tests.support.server import Server

KEY = log_key()
SECONDS = 60
ORDERS = 5


@pytest.fixture
def following(database_url: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, database_url)
    server.environ["LEDGER_LOG_KEY"] = KEY.secret_text
    server.start()
    yield server
    server.stop()


def place(server: Server) -> None:
    client = server.client(1)
    for _ in range(ORDERS):
        assert client.post(f"{server.url}/orders/new", json=["1"], timeout=SECONDS).status_code == 201


def checkpoint_of(database: Database, size: int) -> Checkpoint:
    """The checkpoint of so many events, once there is one."""
    deadline = time.monotonic() + SECONDS
    while log_sizes(database).checkpoint < size:
        assert time.monotonic() < deadline, log_sizes(database)
        time.sleep(0.05)
    with database.read() as cursor:
        note = latest_note(cursor)
    assert note is not None
    return open_checkpoint(note.encode(), [KEY.verifier], origin=KEY.name)


def test_checkpoints_come_by_themselves_and_survive_a_kill(following: Server, database_url: str) -> None:
    database = open_database(database_url)
    place(following)
    assert checkpoint_of(database, ORDERS).size == ORDERS

    place(following)
    following.kill()
    following.start()
    assert checkpoint_of(database, 2 * ORDERS).size == 2 * ORDERS

    metrics = requests.get(f"{following.url}/metrics", timeout=SECONDS).text
    assert f"ledger_log_tree_size {2.0 * ORDERS}" in metrics
    assert f"ledger_log_checkpoint_size {2.0 * ORDERS}" in metrics
    assert requests.get(f"{following.url}/readyz", timeout=SECONDS).status_code == 200
    verdict = verify_database(database, [], [KEY.verifier])
    assert verdict.findings.faults == []
    assert verdict.events == 2 * ORDERS
    database.close()


def test_the_command_follows_until_it_is_told_to_stop(tmp_path: Path, database_url: str) -> None:
    server = Server(tmp_path, database_url)
    server.environ["LEDGER_LOG_KEY"] = KEY.secret_text
    assert server.command("seed", "--orders", "3").returncode == 0
    database = open_database(database_url)
    size = log_sizes(database).head
    command = (*CLI, "follow")
    with subprocess.Popen(command, env=server.environ, cwd=ROOT, stderr=subprocess.PIPE, text=True) as following:
        assert checkpoint_of(database, size).size == size
        following.send_signal(signal.SIGINT)  # both at once, as a terminal and a supervisor may send them
        following.send_signal(signal.SIGTERM)
        _, told = following.communicate(timeout=SECONDS)
    database.close()
    assert following.returncode == 0
    assert told.splitlines()[-1] == f"The tree has {size} events; the latest checkpoint covers {size}."


def test_a_key_that_can_not_be_used_stops_the_start_with_one_line(tmp_path: Path) -> None:
    server = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db")
    server.environ["LEDGER_LOG_KEY"] = "nowhere/key"

    told = server.command("serve", "--bind", "127.0.0.1:0")

    assert told.returncode == 2
    assert (
        told.stderr == "order-ledger: LEDGER_LOG_KEY: the file that it names can't be read: No such file or directory\n"
    )


def test_a_server_that_does_not_follow_any_more_is_not_ready(following: Server, database_url: str) -> None:
    following.stop()
    following.environ["LEDGER_MAX_LAG"] = "1"
    following.start()
    database = open_database(database_url)
    place(following)
    checkpoint_of(database, ORDERS)
    with database.write() as cursor:
        [(hashes,)] = cursor.execute("SELECT hashes FROM log_tree")
        cursor.execute("UPDATE log_tree SET hashes = ?", (b"x",))
    assert requests.get(f"{following.url}/readyz", timeout=SECONDS).status_code == 200
    place(following)

    deadline = time.monotonic() + SECONDS
    detail = ""
    while not ("The transparency log is" in detail and "The signed checkpoint is" in detail):
        assert time.monotonic() < deadline, detail
        time.sleep(0.1)
        answer = requests.get(f"{following.url}/readyz", timeout=SECONDS)
        detail = "" if answer.status_code == 200 else answer.json()["detail"]
    assert "The transparency log stands still." in detail
    said = following.command("doctor")
    assert said.returncode == 1
    assert f"followers and views: The transparency log is {ORDERS} events behind" in said.stdout
    assert requests.get(f"{following.url}/healthz", timeout=SECONDS).status_code == 200

    with database.write() as cursor:
        cursor.execute("UPDATE log_tree SET hashes = ?", (bytes(hashes),))
    following.kill()
    following.start()
    checkpoint_of(database, 2 * ORDERS)
    assert requests.get(f"{following.url}/readyz", timeout=SECONDS).status_code == 200
    assert verify_database(database, [], [KEY.verifier]).findings.faults == []
    database.close()
