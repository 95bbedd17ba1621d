"""Fixtures for all tests: a PostgreSQL server a session, storages to run on, and servers to talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import temporary_database, temporary_server
from tests.support.server import Server
from tests.support.storages import Store, opened_store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running PostgreSQL: that of LEDGER_TEST_DATABASE_URL, or a server of our own."""
    given = os.environ.get("LEDGER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with temporary_server() as server:
        yield server.get_uri()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test alone."""
    with temporary_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database that several processes can open: SQLite, then PostgreSQL."""
    return empty_database(request)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def storage_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind there is."""
    return empty_database(request)


def empty_database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of the kind that the fixture's parameter names."""
    if request.param == "memory":
        return "sqlite:///:memory:"
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/ledger.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(storage_url: str) -> Iterator[Store]:
    """A ledger on each kind of storage."""
    with opened_store(storage_url) as opened:
        yield opened


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A running server of this test alone, on each database that processes can share."""
    started = Server(tmp_path, database_url)
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server on SQLite for all tests of a module."""
    directory = tmp_path_factory.mktemp("server")
    started = Server(directory, f"sqlite:///{directory}/ledger.db")
    started.start()
    yield started
    started.stop()
