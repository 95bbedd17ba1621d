"""The log on every storage: positions, streams, conflicts and rollbacks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from eventsourcing.persistence import DataError, IntegrityError, StoredEvent

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.storage.recorder import read_log
from tests.support.storages import CUSTOMER, Store

CART = [CartItem("1")]


def changed(stream: str, version: int) -> StoredEvent:
    """A stored event that no view looks at."""
    return StoredEvent(stream, version, "Unrelated", b'{"n":1}')


def positions(store: Store) -> list[int]:
    return [event.id for event in store.recorder.select_notifications(1, 10_000)]


def test_a_misspelt_intent_is_not_lost(store: Store) -> None:
    with pytest.raises(TypeError, match="intent"):
        store.recorder.insert_events([StoredEvent("a-1", 1, "Unrelated", b"{}")], intent=(1, None))
    assert store.recorder.max_notification_id() is None


def test_positions_start_at_one_and_are_contiguous(store: Store) -> None:
    assert store.recorder.max_notification_id() is None
    assert list(store.recorder.insert_events([changed("a-1", 1), changed("a-1", 2)]) or ()) == [1, 2]
    assert list(store.recorder.insert_events([changed("a-2", 1)]) or ()) == [3]
    assert positions(store) == [1, 2, 3]


def test_a_conflict_burns_no_position(store: Store) -> None:
    store.recorder.insert_events([changed("a-1", 1)])
    for _ in range(3):
        with pytest.raises(IntegrityError):
            store.recorder.insert_events([changed("a-2", 1), changed("a-1", 1)])
    store.recorder.insert_events([changed("a-2", 1)])
    assert positions(store) == [1, 2]


def test_an_append_whose_view_fails_leaves_nothing(store: Store) -> None:
    store.ledger.create_order(CART, actor=CUSTOMER, cause=Cause(idempotency_key="k", request_hash="h"))
    created = store.recorder.select_events("order-1")[0]
    twin = StoredEvent("order-2", 1, created.topic, created.state)
    with pytest.raises(IntegrityError):
        store.recorder.insert_events([twin])
    assert positions(store) == [1]
    store.assert_sound()


def test_an_append_that_the_database_refuses_burns_nothing(store: Store) -> None:
    with pytest.raises(DataError):
        store.recorder.insert_events([StoredEvent("a-1", 2**70, "Unrelated", b"{}")])
    store.recorder.insert_events([changed("a-1", 1)])
    assert positions(store) == [1]


def test_positions_stay_contiguous_under_concurrent_conflicts(store: Store) -> None:
    def append(number: int) -> bool:
        try:
            store.recorder.insert_events([changed(f"s-{number % 20}", 1)])
        except IntegrityError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = sum(pool.map(append, range(80)))
    assert won == 20
    assert positions(store) == list(range(1, 21))


def test_a_stream_reads_back_in_slices(store: Store) -> None:
    store.recorder.insert_events([changed("a-1", version) for version in range(1, 6)])
    versions = [event.originator_version for event in store.recorder.select_events("a-1", gt=1, lte=4)]
    assert versions == [2, 3, 4]
    latest = store.recorder.select_events("a-1", desc=True, limit=2)
    assert [event.originator_version for event in latest] == [5, 4]


def test_bodies_keep_their_bytes(store: Store) -> None:
    body = '{"name":"Brötchen \\u0000 \\" \U0001f950","percent":"100%?"}'.encode()
    store.recorder.insert_events([StoredEvent("a-1", 1, "Unrelated", body)])
    assert store.recorder.select_events("a-1")[0].state == body
    with store.database.snapshot() as cursor:
        assert [event.body.encode() for event in read_log(cursor)] == [body]


def test_order_ids_rise_from_one_whoever_asks(store: Store) -> None:
    assert list(store.database.next_order_ids()) == [1]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: store.database.next_order_ids()[0], range(40)))
    assert sorted(ids) == list(range(2, 42))
    assert list(store.database.next_order_ids(3)) == [42, 43, 44]


def test_a_snapshot_does_not_see_what_comes_later(store: Store) -> None:
    if store.database.dialect == "sqlite" and store.database._in_memory:  # type: ignore[attr-defined]
        pytest.skip("one connection: readers and writers take turns")
    store.recorder.insert_events([changed("a-1", 1)])
    with store.database.snapshot() as cursor:
        before = list(read_log(cursor))
        store.recorder.insert_events([changed("a-1", 2)])
        assert list(read_log(cursor)) == before
    assert positions(store) == [1, 2]
