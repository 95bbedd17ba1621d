"""Databases that can't be used: one clear refusal, and recovery without a restart."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Thread

import pytest
from eventsourcing.persistence import ProgrammingError

from ledger.errors import SettingsError, StorageUnavailable
from ledger.storage import open_database
from ledger.storage.recorder import LogRecorder
from projections.health import Health
from projections.live import LiveViews
from projections.migrate import migrate
from projections.store import VIEWS


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable):
        open_database(f"sqlite:///{tmp_path}/file/ledger.db").create()


def test_a_file_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    for use in (database.read, database.snapshot, database.write):
        with pytest.raises(StorageUnavailable, match="no database file"), use():
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_deleted_or_replaced_while_in_use_takes_no_more_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    with database.read() as cursor:
        cursor.execute("SELECT 1")
    path.unlink()
    for use in (database.read, database.write):
        with pytest.raises(StorageUnavailable), use():
            pass
    with pytest.raises(StorageUnavailable):
        database.next_order_ids()
    path.touch()
    with pytest.raises(StorageUnavailable, match="replaced"), database.write():
        pass
    database.close()


def test_servers_that_start_at_once_on_a_new_file_wait_for_each_other(tmp_path: Path) -> None:
    starters, rounds = 8, 20
    for number in range(rounds):
        url = f"sqlite:///{tmp_path}/{number}.db"
        together, failures = Barrier(starters), list[Exception]()

        def start(url: str = url, together: Barrier = together, failures: list[Exception] = failures) -> None:
            database = open_database(url)
            together.wait()
            try:
                migrate(database)
            except StorageUnavailable as error:
                failures.append(error)
            database.close()

        threads = [Thread(target=start) for _ in range(starters)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database, however long it may be" * 100)
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    with pytest.raises(StorageUnavailable), database.read():
        pass
    database.close()


def test_a_locked_file_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    database = open_database(f"sqlite:///{path}", timeout=0.1)
    migrate(database)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable), database.write():
        pass
    other.execute("ROLLBACK")
    other.close()
    with database.write() as cursor:
        cursor.execute("SELECT 1")
    database.close()


def test_a_mistake_in_sql_is_not_called_an_outage(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    database.create()
    with pytest.raises(ProgrammingError), database.read() as cursor:
        cursor.execute("SELECT * FROM nowhere")
    database.close()


def test_every_commit_is_on_disk(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    database.create()
    with database.write() as cursor:
        assert cursor.execute("PRAGMA synchronous") == [(2,)]
        assert cursor.execute("PRAGMA journal_mode") == [("wal",)]
    database.close()


def test_a_postgres_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = open_database(f"postgresql:///ledger?host={tmp_path}", timeout=0.2)
    with pytest.raises(StorageUnavailable), database.read():
        pass
    with pytest.raises(StorageUnavailable):
        Health(database).problem()
    database.close()


def test_a_postgres_url_that_makes_no_sense() -> None:
    with pytest.raises(SettingsError, match="LEDGER_DATABASE_URL"):
        open_database("postgresql://h/d?nonsense=1")


@pytest.mark.postgres
def test_sql_mistakes_and_statement_timeouts_on_postgres(postgres_url: str) -> None:
    database = open_database(postgres_url, timeout=0.3)
    with pytest.raises(ProgrammingError), database.read() as cursor:
        cursor.execute("SELECT * FROM nowhere")
    with pytest.raises(StorageUnavailable), database.read() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    with database.write(), pytest.raises(StorageUnavailable), database.write():
        pass
    with database.snapshot() as cursor:  # of an export, whose reader may take any time
        assert cursor.execute("SHOW idle_in_transaction_session_timeout") == [("0",)]
    database.close()


@pytest.mark.postgres
def test_a_rollback_leaves_prepared_statements_where_they_are(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=1)
    for _ in range(3):
        with database.read() as cursor:
            assert cursor.execute("SELECT 1") == [(1,)]
        with suppress(LookupError), database.write() as cursor:
            for number in range(10):
                cursor.execute("SELECT ?::bigint", (number,))
            raise LookupError
    database.close()


def test_subscriptions_are_not_offered() -> None:
    database = open_database("sqlite:///:memory:")
    recorder = LogRecorder(database, LiveViews(database, VIEWS))
    with pytest.raises(NotImplementedError):
        recorder.subscribe()


def test_closing_waits_for_nobody_and_breaks_nobodys_read(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    migrate(database)
    with database.snapshot() as cursor:
        database.close()
        assert cursor.execute("SELECT count(*) FROM events") == [(0,)]
    with pytest.raises(StorageUnavailable), database.read():
        pass


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/new/ledger.db")
    migrate(database)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}
    database.close()


def test_why_a_postgres_can_not_be_reached_is_said() -> None:
    database = open_database("postgresql://127.0.0.1:1/x", timeout=0.5)
    with pytest.raises(StorageUnavailable, match="refused"), database.read():
        pass
    database.close()
