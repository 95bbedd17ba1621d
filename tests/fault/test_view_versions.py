"""Releases whose views differ, on one database: the older views serve until a rebuild, and what a process does not know
to be in force it does not write.
"""

from __future__ import annotations

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.errors import LedgerError, SettingsError, StorageUnavailable
from projections.check import differences
from projections.migrate import migrate, missing, outdated, view_versions
from projections.rebuild import rebuild, roll_back
from projections.store import VIEWS
from tests.support.rebuilds import at_work, fill, tables_of
from tests.support.storages import CUSTOMER, Store, opened_store
from tests.support.versions import NEXT, ORDERS_V2, TURNOVER

NEWER = NEXT[:-1]
"""Without the view that is new."""


def place(store: Store) -> int:
    return store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause()).order_id


def head(store: Store) -> int:
    return store.recorder.max_notification_id() or 0


def versions(store: Store) -> dict[str, int]:
    with store.database.read() as cursor:
        return view_versions(cursor)


@pytest.mark.slow
def test_a_new_version_is_put_in_force_beside_writers_and_readers(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 40)
        with at_work(database_url, NEXT, writers=2, readers=1, expected=40) as work:
            for _ in range(4):
                rebuild(store.database, ORDERS_V2, NEXT)
                work.wait_for(20)
                roll_back(store.database, ORDERS_V2, NEXT)
                work.wait_for(20)
            rebuild(store.database, ORDERS_V2, NEXT)
            rebuild(store.database, TURNOVER, NEXT)
            work.wait_for(20)
        assert work.failed() == []
        assert (versions(store)["orders"], versions(store)["turnover"]) == (2, 1)
        assert differences(store.database, NEXT) == []


def test_the_newer_release_serves_the_older_view_until_it_is_rebuilt(storage_url: str) -> None:
    with opened_store(storage_url) as store:
        fill(store, 10)
        migrate(store.database, NEXT)
        assert versions(store)["orders"] == 1
        assert versions(store)["turnover"] == 1
        assert [view.version for view in outdated(store.database, NEXT)] == [2]
        assert missing(store.database, NEXT) is None
        assert differences(store.database, NEXT) == []
        rebuild(store.database, ORDERS_V2, NEXT)
        assert outdated(store.database, NEXT) == []
        assert differences(store.database, NEXT) == []
        assert "orders" not in tables_of(store)


def test_the_older_release_writes_nothing_once_it_does_not_know_what_is_in_force(database_url: str) -> None:
    with opened_store(database_url) as old, opened_store(database_url, NEWER) as new:
        fill(old, 5)
        before = head(old)
        assert place(old) == place(new) - 1
        rebuild(new.database, ORDERS_V2, NEWER)
        for use in (lambda: place(old), lambda: old.orders.detail(1, CUSTOMER)):
            with pytest.raises(StorageUnavailable, match="another release"):
                use()
        assert head(old) == before + 2
        assert "another release" in (missing(old.database) or "")
        with pytest.raises(SettingsError, match="another release"):
            migrate(old.database)
        place(new)
        roll_back(new.database, ORDERS_V2, NEWER)
        place(old)
        assert old.orders.detail(1, CUSTOMER) is not None
        assert differences(new.database, NEWER) == []


def test_a_new_view_gets_every_event_from_its_swap_on(database_url: str) -> None:
    """Even of a process that has long known that there is no such view, and names none of its tables."""
    with opened_store(database_url) as old, opened_store(database_url) as maker:
        fill(old, 5)
        with opened_store(database_url, (*VIEWS, TURNOVER)) as new:
            place(new)
            rebuild(maker.database, TURNOVER, (*VIEWS, TURNOVER))
            place(new)
            with pytest.raises(StorageUnavailable, match="another release"):
                place(old)
            assert differences(new.database, (*VIEWS, TURNOVER)) == []


def test_there_may_be_nothing_to_go_back_to(storage_url: str) -> None:
    with opened_store(storage_url) as store:
        with pytest.raises(LedgerError, match="no former table"):
            roll_back(store.database, VIEWS[0], VIEWS)
        fill(store, 3)
        migrate(store.database, NEXT)
        rebuild(store.database, ORDERS_V2, NEXT)
        with store.database.write() as cursor:
            cursor.execute("UPDATE rebuilds SET version = 77")
        with pytest.raises(LedgerError, match="no former table"):
            roll_back(store.database, ORDERS_V2, NEXT)
