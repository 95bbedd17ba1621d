"""A database that goes away and comes back: 503 with Retry-After meanwhile, and recovery without a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ledger.storage import open_database
from projections.check import differences
from tests.support.postgres import temporary_server
from tests.support.server import Server, bearer, problem

RECOVERY_SECONDS = 30


@pytest.fixture
def postgres_of_its_own() -> Iterator[Any]:
    """A PostgreSQL server that this test may stop."""
    with temporary_server() as server:
        yield server


@pytest.mark.postgres
@pytest.mark.slow
def test_a_database_that_is_down_and_comes_back(postgres_of_its_own: Any, tmp_path: Path) -> None:
    url = postgres_of_its_own.get_uri()
    server = Server(tmp_path, url)
    server.start(LEDGER_DB_TIMEOUT="1")
    client = server.client(1)
    first = client.post(f"{server.url}/orders/new", json=["1"], headers={"Idempotency-Key": "a"}, timeout=30)
    assert first.status_code == 201

    postgres_of_its_own.stop()
    attempts = [
        lambda: client.post(f"{server.url}/orders/new", json=["1"], headers={"Idempotency-Key": "b"}, timeout=30),
        lambda: client.get(f"{server.url}/orders", timeout=30),
        lambda: client.get(f"{server.url}/orders/1", timeout=30),
        lambda: requests.get(f"{server.url}/readyz", timeout=30),
    ]
    for attempt in attempts:
        answer = attempt()
        assert (answer.status_code, problem(answer)["status"]) == (503, 503)
        assert int(answer.headers["Retry-After"]) >= 1
    assert requests.get(f"{server.url}/healthz", timeout=30).status_code == 200
    assert requests.get(f"{server.url}/orders/demo-cart", timeout=30).status_code == 200

    postgres_of_its_own.ensure_postgres_running()
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (again := attempts[0]()).status_code == 503:
        assert time.monotonic() < deadline, "no recovery"
        time.sleep(0.2)
    assert again.status_code == 201
    assert requests.get(f"{server.url}/readyz", timeout=30).status_code == 200
    assert len(client.get(f"{server.url}/orders", timeout=30).json()) == 2
    server.stop()
    database = open_database(url)
    assert differences(database) == []
    database.close()


def test_a_sqlite_file_that_is_deleted_takes_no_more_orders(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    server = Server(tmp_path, f"sqlite:///{path}")
    server.start()
    client = server.client(1)
    assert client.post(f"{server.url}/orders/new", json=["1"], timeout=30).status_code == 201
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    for _ in range(8):
        answer = requests.post(
            f"{server.url}/orders/new", json=["1"], headers={**bearer(1), "Connection": "close"}, timeout=30
        )
        assert (answer.status_code, problem(answer)["status"]) == (503, 503)
        assert requests.get(f"{server.url}/readyz", timeout=30).status_code == 503
    server.stop()
    assert not path.exists()
