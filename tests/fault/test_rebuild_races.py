"""Rebuilds and ways back while other processes write and read: nothing fails, and nobody sees a view half built."""

from __future__ import annotations

import threading

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.errors import AlreadyRunning
from ledger.storage import open_database
from projections.rebuild import rebuild, roll_back
from projections.store import VIEWS
from projections.watcher import Watcher
from tests.support.rebuilds import VIEW_OF, at_work, fill
from tests.support.storages import CUSTOMER, opened_store

ORDERS = VIEW_OF["orders"]
ROUNDS = 6


@pytest.mark.slow
def test_writers_and_readers_notice_nothing(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 60)
        with at_work(database_url, VIEWS, writers=2, readers=1, expected=60) as work:
            for _ in range(ROUNDS):
                for view in VIEWS:
                    rebuild(store.database, view, VIEWS)
                work.wait_for(5)
                roll_back(store.database, ORDERS, VIEWS)
                work.wait_for(5)
        assert work.failed() == []
        store.assert_sound()


@pytest.mark.postgres
def test_a_long_reader_is_not_waited_for_with_everybody_behind(postgres_url: str) -> None:
    """The swap lets others pass while somebody reads the view for long, and comes as soon as it can."""
    with opened_store(postgres_url) as store:
        fill(store, 20)
        waiting, let_go = threading.Event(), threading.Event()

        def read_for_long() -> None:
            with store.database.snapshot(["orders"]) as cursor:
                before = cursor.execute("SELECT count(*) FROM orders")
                reading.set()
                assert let_go.wait(60)
                assert cursor.execute("SELECT count(*) FROM orders") == before

        reading = threading.Event()
        reader = threading.Thread(target=read_for_long)
        reader.start()
        assert reading.wait(60)
        watcher = Watcher(at=lambda phase: waiting.set() if phase == "waiting" else None)
        job = threading.Thread(target=lambda: rebuild(store.database, ORDERS, VIEWS, watcher=watcher))
        job.start()
        assert waiting.wait(60)
        fill_again = threading.Thread(target=lambda: _write_while_waiting(postgres_url))
        fill_again.start()
        fill_again.join(60)
        assert job.is_alive()
        let_go.set()
        reader.join(60)
        job.join(60)
        assert not job.is_alive()
        store.assert_sound()


def _write_while_waiting(url: str) -> None:
    with opened_store(url) as store:
        for _ in range(20):
            store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())


@pytest.mark.postgres
def test_a_snapshot_without_the_lock_would_see_half_a_view(postgres_url: str) -> None:
    """Why a snapshot names its tables: one that does not sees the new table as it was when the snapshot began."""
    with opened_store(postgres_url) as store:
        fill(store, 20)
        with store.database.snapshot() as cursor:
            assert cursor.execute("SELECT count(*) FROM payment_intents") == [(20,)]
            rebuild(store.database, ORDERS, VIEWS)
            assert cursor.execute("SELECT count(*) FROM orders") == [(0,)]
        with store.database.snapshot(["orders"]) as cursor:
            assert cursor.execute("SELECT count(*) FROM orders") == [(20,)]


def test_the_second_of_two_is_told_so(storage_url: str) -> None:
    with opened_store(storage_url) as store:
        fill(store, 3)
        with store.database.bulk("rebuild of orders"):
            with pytest.raises(AlreadyRunning, match="rebuild of orders"):
                rebuild(store.database, ORDERS, VIEWS)
            rebuild(store.database, VIEW_OF["payments"], VIEWS)
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()


def test_two_processes_do_not_rebuild_one_view_at_once(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 3)
        other = open_database(database_url)
        with other.bulk("rebuild of orders"), pytest.raises(AlreadyRunning):
            rebuild(store.database, ORDERS, VIEWS)
        other.close()
