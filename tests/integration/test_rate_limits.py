"""Limits that several workers count together, in a real Redis, and what happens when it goes away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from flask import Flask

from api.limits import LimitPolicy, enforce_limits
from tests.support.cli import environ_of, run_cli
from tests.support.server import Server, problem

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and "CI" not in os.environ, reason="redis-server is not installed"
)


class Redis:
    """A Redis on a port of its own, which can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory))
        self._process = subprocess.Popen(("redis-server", *options), stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            for _ in range(200):
                with suppress(redis.ConnectionError):
                    assert client.ping()
                    return
                time.sleep(0.05)
        raise AssertionError("redis-server did not start")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        yield
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Redis]:
    running = Redis(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def server(tmp_path: Path, store: Redis) -> Iterator[Server]:
    running = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db", workers=2)
    running.start(LEDGER_RATE_LIMIT_USER="20/day", LEDGER_RATE_LIMIT_STORE=store.url)
    yield running
    running.stop()


def asked(server: Server, user: int, times: int) -> list[int]:
    """What a user is answered who opens a connection for each request, so that all workers have some of them."""
    answers = []
    for _ in range(times):
        with server.client(user) as client:
            answers.append(client.get(f"{server.url}/leads/statuses", timeout=30).status_code)
    return answers


def test_workers_count_together(server: Server) -> None:
    assert asked(server, 1, 30) == [200] * 20 + [429] * 10
    assert asked(server, 2, 1) == [200]


def test_a_store_that_is_gone_stops_nobody(server: Server, store: Redis) -> None:
    assert asked(server, 1, 21)[-1] == 429

    store.stop()
    assert asked(server, 2, 10) == [200] * 10
    with server.client(3) as client:
        answers = [client.get(f"{server.url}/leads/statuses", timeout=30) for _ in range(21)]
    assert answers[-1].status_code == 429
    assert problem(answers[-1])["type"] == "/problems/too-many-requests"


def test_of_many_that_wait_for_a_store_in_vain_all_are_answered(store: Redis) -> None:
    app = Flask("limited")
    app.get("/")(lambda: "done")
    enforce_limits(app, LimitPolicy(address="1000/day", user="1000/day", store=store.url), lambda: 1)
    with store.frozen(), ThreadPoolExecutor(16) as many:
        answers = list(many.map(lambda _: app.test_client().get("/").status_code, range(16)))
    assert answers == [200] * 16


def test_a_store_that_goes_away_after_it_has_counted_changes_no_answer(store: Redis) -> None:
    app, done = Flask("limited"), []

    @app.post("/orders")
    def place() -> str:
        done.append("order")
        store.stop()
        return "placed"

    enforce_limits(app, LimitPolicy(address="5/day", store=store.url), lambda: None)

    answer = app.test_client().post("/orders")
    assert (answer.status_code, answer.text, done) == (200, "placed", ["order"])
    assert "RateLimit" not in answer.headers


def test_a_server_starts_without_its_store(tmp_path: Path, store: Redis) -> None:
    store.stop()
    server = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db", workers=1)
    server.start(LEDGER_RATE_LIMIT_USER="5/day", LEDGER_RATE_LIMIT_STORE=store.url)
    try:
        assert asked(server, 1, 7) == [200] * 5 + [429] * 2
    finally:
        server.stop()


def limited_by(store: str, home: Path) -> dict[str, str]:
    """The environment of commands on a ledger whose limits are counted there."""
    return environ_of(
        LEDGER_DATABASE_URL=f"sqlite:///{home}/ledger.db",
        LEDGER_VAR_DIR=str(home),
        LEDGER_RATE_LIMIT_STORE=store,
        LEDGER_RATE_LIMIT_USER="600/minute",
    )


def test_the_doctor_asks_the_store(tmp_path: Path, store: Redis) -> None:
    url = f"redis://:hidden@127.0.0.1:{store.port}/0"
    environ = limited_by(store.url, tmp_path)
    run_cli("migrate", environ=environ)
    assert f"limits {store.url}: sound" in run_cli("doctor", environ=environ).stdout

    store.stop()
    told = run_cli("doctor", environ=environ | {"LEDGER_RATE_LIMIT_STORE": url})
    assert told.returncode == 1
    assert "limits redis://:***@127.0.0.1" in told.stdout
    assert "It does not answer" in told.stdout
    assert "hidden" not in told.stdout + told.stderr
    told = run_cli("doctor", environ=environ | {"LEDGER_RATE_LIMIT_USER": ""})  # nobody is counted
    assert (told.returncode, "limits" in told.stdout) == (0, False)


@pytest.mark.parametrize("url", ["redis://:hid/den@127.0.0.1:1/0", "redis://:hid#den@127.0.0.1:1/0", "redis://["])
def test_the_doctor_tells_of_a_store_that_is_none(tmp_path: Path, url: str) -> None:
    environ = limited_by(url, tmp_path)
    told = run_cli("doctor", environ=environ)
    assert "LEDGER_RATE_LIMIT_STORE is no URL of a store" in told.stdout
    assert "hid" not in told.stdout + told.stderr
