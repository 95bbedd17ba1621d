"""Real servers on real databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server


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
