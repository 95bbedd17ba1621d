"""Kill -9 of a rebuild at every phase: the live view is as it was, and the next rebuild goes on or starts again."""

from __future__ import annotations

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.statuses import Status
from projections.rebuild import TAIL, rebuild, roll_back
from projections.store import VIEWS
from projections.watcher import PHASES, Progress, Watcher
from tests.support.rebuilds import VIEW_OF, fill, killed_at, rows_of, tables_of
from tests.support.storages import CUSTOMER, Store, opened_store

ORDERS = VIEW_OF["orders"]
SWAPPED = {"done"}
"""Phases after which the new table is in force."""


def fill_more(store: Store, orders: int = 3) -> None:
    """A move, and orders without keys."""
    store.ledger.change_status(3, Status.CANCELLED, actor=CUSTOMER, cause=Cause())
    for _ in range(orders):
        store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())


@pytest.mark.parametrize("phase", PHASES)
def test_killed_at_every_phase(database_url: str, phase: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 30)
        rebuild(store.database, ORDERS, VIEWS)  # so that there is a former table to be cleared
        with store.database.write() as cursor:  # what only a rebuild that was swapped in mends
            cursor.execute("UPDATE orders SET status = 'shipped' WHERE order_id = 1")
        damaged = rows_of(store)

        assert killed_at(database_url, "orders", phase)

        assert (rows_of(store) != damaged) == (phase in SWAPPED)
        fill_more(store)
        ended = rebuild(store.database, ORDERS, VIEWS)
        assert ended.done == ended.head == store.recorder.max_notification_id()
        store.assert_sound()
        roll_back(store.database, ORDERS, VIEWS)
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()
        assert [table for table in tables_of(store) if table.startswith("orders")] == ["orders", "orders_old"]


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase not in {"copying", "indexing"}])
def test_killed_on_the_way_back(database_url: str, phase: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 10)
        rebuild(store.database, ORDERS, VIEWS)
        fill_more(store, TAIL)  # or it would have nothing to write before the swap

        assert killed_at(database_url, "orders", phase, back=True)

        store.assert_sound()
        fill_more(store)
        roll_back(store.database, ORDERS, VIEWS)
        store.assert_sound()
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()


def test_a_rebuild_goes_on_where_it_was_killed(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 30)
        assert killed_at(database_url, "orders", "indexing")
        with store.database.read() as cursor:
            [(table, position)] = cursor.execute("SELECT table_name, position FROM rebuilds")
        assert (table, position) == ("orders_next", store.recorder.max_notification_id())
        told: list[Progress] = []
        rebuild(store.database, ORDERS, VIEWS, watcher=Watcher(tell=told.append))
        assert [progress.done for progress in told if progress.phase == "copying"] == [position]
        store.assert_sound()


def test_what_an_older_definition_left_is_started_again(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 10)
        assert killed_at(database_url, "orders", "indexing")
        with store.database.write() as cursor:
            cursor.execute("UPDATE rebuilds SET version = 7")
            cursor.execute("DELETE FROM orders_next")
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()


def test_what_is_ahead_of_the_log_is_started_again(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 10)
        assert killed_at(database_url, "orders", "indexing")
        with store.database.write() as cursor:
            cursor.execute("UPDATE rebuilds SET position = 1000000")
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()
