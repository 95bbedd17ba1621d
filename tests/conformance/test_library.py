"""The eventsourcing library's own suite for recorders, on every storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from ledger.storage import open_database
from ledger.storage.recorder import LogRecorder
from projections.live import LiveViews
from projections.migrate import migrate
from projections.store import VIEWS


class OnMemory:
    """Gives each test of the library a recorder on an empty database."""

    recorder: LogRecorder

    def storage_url(self, request: pytest.FixtureRequest) -> str:
        return "sqlite:///:memory:"

    @pytest.fixture(autouse=True)
    def _with_recorder(self, request: pytest.FixtureRequest) -> Iterator[None]:
        database = open_database(self.storage_url(request))
        migrate(database)
        self.recorder = LogRecorder(database, LiveViews(database, VIEWS))
        yield
        database.close()

    def create_recorder(self) -> LogRecorder:
        return self.recorder

    def new_originator_id(self) -> str:
        return str(uuid4())


class OnSqlite(OnMemory):
    def storage_url(self, request: pytest.FixtureRequest) -> str:
        directory: Path = request.getfixturevalue("tmp_path")
        return f"sqlite:///{directory}/ledger.db"


class OnPostgres(OnMemory):
    def storage_url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("postgres_url")
        return url


class TestRecorderOnMemory(OnMemory, ApplicationRecorderTestCase[LogRecorder]):
    pass


class TestRecorderOnSqlite(OnSqlite, ApplicationRecorderTestCase[LogRecorder]):
    pass


@pytest.mark.postgres
class TestRecorderOnPostgres(OnPostgres, ApplicationRecorderTestCase[LogRecorder]):
    pass


class TestNonInterleavingOnMemory(OnMemory, NonInterleavingNotificationIDsBaseCase):
    pass


class TestNonInterleavingOnSqlite(OnSqlite, NonInterleavingNotificationIDsBaseCase):
    pass


@pytest.mark.postgres
class TestNonInterleavingOnPostgres(OnPostgres, NonInterleavingNotificationIDsBaseCase):
    pass


# The library's abstract cases must not be collected by themselves.
del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
