"""Bulk seeding: sound ledgers with mixed histories, beside others who write."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ledger.actor import Cause
from ledger.catalogue import Catalogue
from ledger.statuses import Status
from scripts.sowing import Sower
from tests.support.cli import environ_of, run_cli
from tests.support.storages import PAYMENTS, STAFF, Store, opened_store
from tests.support.writers import writers


def sower(store: Store, seed: int = 1, batch: int = 20) -> Sower:
    return Sower(
        ledger=store.ledger,
        database=store.database,
        catalogue=Catalogue.load(None),
        currency="usd",
        rng=random.Random(seed),
        users=10,
        batch=batch,
    )


def log(store: Store) -> list[tuple[int, str, str]]:
    with store.database.read() as cursor:
        return [tuple(row) for row in cursor.execute("SELECT position, stream, body FROM events ORDER BY position")]


def orders_in(store: Store, status: Status) -> list[int]:
    query = "SELECT order_id FROM orders WHERE status = ? ORDER BY order_id"
    with store.database.read() as cursor:
        return [row[0] for row in cursor.execute(query, (status.value,))]


def version_of(store: Store, order_id: int) -> int:
    found = store.orders.detail(order_id, STAFF)
    assert found is not None
    return found.version


def test_batches_are_told_as_orders_and_make_a_sound_ledger(store: Store) -> None:
    counts = list(sower(store).sow(100))
    assert len(counts) > 10
    assert sum(counts) == 100
    store.assert_sound()


def test_histories_are_mixed_and_told_in_the_order_of_time(store: Store) -> None:
    list(sower(store).sow(200))
    timestamps = [body[len('{"timestamp":"') :][:27] for _, _, body in log(store)]
    assert timestamps == sorted(timestamps)
    streams = [stream for _, stream, _ in log(store)]
    last = {stream: place for place, stream in enumerate(streams)}
    first = {stream: place for place, stream in reversed(list(enumerate(streams)))}
    begun_in_between = [len({*streams[first[stream] : last[stream]]} - {stream}) for stream in first]
    assert max(begun_in_between) > 20


def test_how_the_log_is_cut_into_batches_changes_no_history(store: Store, tmp_path: Path) -> None:
    list(sower(store).sow(60))
    with opened_store(f"sqlite:///{tmp_path}/other.db") as other:
        list(sower(other, batch=10_000).sow(60))
        assert log(other) == log(store)


def test_the_gateway_knows_of_every_payment_what_the_ledger_says(database_url: str, tmp_path: Path) -> None:
    environ = environ_of(LEDGER_DATABASE_URL=database_url, LEDGER_VAR_DIR=str(tmp_path))
    assert run_cli("seed", "--orders", "1000", environ=environ).returncode == 0
    told = run_cli("reconcile", "--all", environ=environ)
    assert (told.returncode, told.stdout) == (0, "")
    with opened_store(database_url) as store, store.database.read() as cursor:
        query = (
            "SELECT sandbox_settlements.status, amount_received > 0, count(*) FROM sandbox_settlements"
            " GROUP BY 1, 2 ORDER BY 1"
        )
        states = [(status, bool(received)) for status, received, _ in cursor.execute(query)]
    assert states == [("canceled", False), ("requires_payment_method", False), ("succeeded", True)]


def test_an_order_that_another_moves_meanwhile_is_left_to_them(store: Store) -> None:
    batches = sower(store).sow(150)
    for _ in range(5):
        next(batches)
    declined = orders_in(store, Status.PENDING)
    for order_id in declined:
        store.ledger.change_status(order_id, Status.DECLINED, actor=STAFF, cause=Cause())
    assert declined
    assert sum(batches) > 0
    assert set(declined) <= set(orders_in(store, Status.DECLINED))
    store.assert_sound()


def test_an_order_that_another_pays_meanwhile_is_left_to_them(store: Store) -> None:
    batches = sower(store).sow(150)
    for _ in range(5):
        next(batches)
    notices = [store.gateway.settle(order_id) for order_id in orders_in(store, Status.PENDING)]
    assert notices
    assert sum(batches) > 0
    for notice in notices:  # as its webhook comes late
        assert notice.order_id
        assert version_of(store, notice.order_id) == 1
        store.ledger.record_payment(notice, actor=PAYMENTS, cause=Cause())
    assert {notice.order_id for notice in notices} <= set(orders_in(store, Status.ORDER_PAID))
    store.assert_sound()


def test_two_with_one_seed_share_a_ledger(store: Store) -> None:
    first, second = sower(store).sow(300), sower(store).sow(300)
    assert sum(first) + sum(second) == 600
    store.assert_sound()
    assert version_of(store, 600) >= 1


@pytest.mark.slow
def test_others_write_while_it_seeds(database_url: str) -> None:
    with opened_store(database_url) as store:
        with writers(database_url, processes=2, threads=2, events=4000) as others:
            list(sower(store, batch=500).sow(2000))
            while others.alive():
                list(sower(store, seed=2).sow(100))
        assert others.failed() == []
        positions = [position for position, _, _ in log(store)]
        assert positions == list(range(1, len(positions) + 1))
        store.assert_sound()
