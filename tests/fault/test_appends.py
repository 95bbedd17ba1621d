"""Appends that meet a broken connection, a full disk or an exhausted pool: all or nothing, and the truth is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from eventsourcing.persistence import StoredEvent

from ledger.actor import Cause
from ledger.application import OrderLedger
from ledger.cart import CartItem
from ledger.catalogue import Catalogue
from ledger.errors import StorageUnavailable
from ledger.payments.gateway import Intent
from ledger.payments.sandbox import SandboxGateway
from ledger.ports import Ports
from ledger.storage import Database, open_database
from ledger.storage.intents import IntentOrders
from ledger.storage.recorder import LogRecorder
from ledger.storage.reservations import Reservations
from projections.check import differences
from projections.idempotency import ReceiptReads
from projections.live import LiveViews
from projections.migrate import migrate
from projections.store import VIEWS
from tests.support.proxy import Cut, Proxy
from tests.support.storages import CUSTOMER, Store, opened_store

CART = [CartItem("1")]


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    """A proxy before an empty PostgreSQL database."""
    opened = Proxy(postgres_url)
    yield opened
    opened.close()


def head(store: Store) -> int:
    return store.recorder.max_notification_id() or 0


@pytest.mark.postgres
def test_a_commit_whose_answer_is_lost_is_found(proxy: Proxy) -> None:
    with opened_store(proxy.url) as store:
        first = store.recorder.insert_events([StoredEvent("a-1", 1, "Unrelated", b"{}")])
        proxy.cut_next("after")
        again = store.recorder.insert_events([StoredEvent("a-1", 2, "Unrelated", b'{"n":2}')])
        assert (first, again, proxy.cuts) == ([1], [2], 1)
        assert head(store) == 2
        store.assert_sound()


@pytest.mark.postgres
def test_a_commit_whose_answer_is_lost_is_found_though_every_connection_broke(proxy: Proxy) -> None:
    with opened_store(proxy.url) as store:
        assert store.orders.detail(1, CUSTOMER) is None  # from now on it is known which views are in force
        with ExitStack() as held:
            for _ in range(4):
                held.enter_context(store.database.read()).execute("SELECT 1")
        proxy.cut_next("after", everyone=True)
        assert store.recorder.insert_events([StoredEvent("a-1", 1, "Unrelated", b"{}")]) == [1]
        assert head(store) == 1
        store.assert_sound()


@pytest.mark.postgres
def test_a_commit_that_never_came_is_not_claimed(proxy: Proxy) -> None:
    with opened_store(proxy.url) as store:
        store.recorder.insert_events([StoredEvent("a-1", 1, "Unrelated", b"{}")])
        proxy.cut_next("before")
        with pytest.raises(StorageUnavailable):
            store.recorder.insert_events([StoredEvent("a-1", 2, "Unrelated", b"{}")])
        assert (head(store), proxy.cuts) == (1, 1)
        assert store.recorder.insert_events([StoredEvent("a-1", 2, "Unrelated", b"{}")]) == [2]
        store.assert_sound()


@pytest.mark.postgres
@pytest.mark.parametrize("cut", ["before", "after"])
def test_cuts_among_concurrent_appends_lose_and_double_nothing(proxy: Proxy, cut: Cut) -> None:
    with opened_store(proxy.url) as store, ThreadPoolExecutor(8) as pool:

        def place(number: int) -> int | None:
            if number % 20 == 10:
                proxy.cut_next(cut)
            cause = Cause(idempotency_key=f"k{number}", request_hash="h")
            try:
                return store.ledger.create_order(CART, actor=CUSTOMER, cause=cause).order_id
            except StorageUnavailable:
                return None

        placed = list(pool.map(place, range(100)))
        again = [
            store.ledger.create_order(CART, actor=CUSTOMER, cause=Cause(idempotency_key=f"k{n}", request_hash="h"))
            for n in range(100)
        ]
        assert proxy.cuts >= 3
        assert all(first in {None, second.order_id} for first, second in zip(placed, again, strict=True))
        assert head(store) == 100
        store.assert_sound()


@pytest.mark.postgres
def test_a_full_disk_on_postgres_leaves_nothing_half_there(postgres_url: str) -> None:
    """The server's own error for a full disk, raised by a trigger at the last table that an append writes."""
    with opened_store(postgres_url) as store:
        with store.database.write() as cursor:
            cursor.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
            )
            cursor.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON payment_intents FOR EACH ROW EXECUTE FUNCTION full_disk()"
            )
        with pytest.raises(StorageUnavailable, match="No space left"):
            store.ledger.create_order(CART, actor=CUSTOMER, cause=Cause())
        assert head(store) == 0
        store.assert_sound()
        with store.database.write() as cursor:
            cursor.execute("DROP TRIGGER full_disk ON payment_intents")
        store.ledger.create_order(CART, actor=CUSTOMER, cause=Cause())
        assert head(store) == 1
        store.assert_sound()


FILL = """
import resource, signal, sys
from tests.fault.test_appends import fill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
fill(sys.argv[1])
"""


def fill(url: str) -> None:
    """Places orders by several threads until nothing more fits; prints each one that was acknowledged."""
    lock, full = threading.Lock(), threading.Event()
    with opened_store(url) as store, ThreadPoolExecutor(4) as pool:

        def place(_: int) -> None:
            while not full.is_set():
                try:
                    order_id = store.ledger.create_order(CART * 50, actor=CUSTOMER, cause=Cause()).order_id
                except StorageUnavailable:
                    full.set()
                    return
                with lock:
                    print(order_id, flush=True)

        list(pool.map(place, range(4)))


def test_a_full_disk_on_sqlite_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The limit on a file's size stands for a full disk: both make a write fail in the middle."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    database = open_database(url)
    migrate(database)
    database.close()
    command = [sys.executable, "-c", FILL, url, str(1024 * 1024)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    acknowledged = [int(line) for line in done.stdout.split()]
    assert len(acknowledged) > 10
    with opened_store(url) as store:
        store.assert_sound()
        assert all(store.orders.detail(order_id, CUSTOMER) is not None for order_id in acknowledged)
        assert head(store) == len(acknowledged)
        store.ledger.create_order(CART, actor=CUSTOMER, cause=Cause())


@pytest.mark.postgres
def test_an_exhausted_pool_is_said_in_time(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=1, timeout=0.3)
    migrate(database)
    with database.read(), pytest.raises(StorageUnavailable), database.read():
        pass
    with database.read() as cursor:
        assert cursor.execute("SELECT 1") == [(1,)]
    database.close()


class GatewayThatNeedsTheDatabase(SandboxGateway):
    """Answers only while a connection is free, as the only one there is would not be if the ledger held it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._all_there_is = database

    def create_intent(self, *arguments: object) -> Intent:  # type: ignore[override]
        with self._all_there_is.read() as cursor:
            assert cursor.execute("SELECT 1") == [(1,)]
        return super().create_intent(*arguments)  # type: ignore[arg-type]


@pytest.mark.postgres
def test_no_connection_is_held_while_the_gateway_thinks(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=1, timeout=1)
    migrate(database)
    views = LiveViews(database, VIEWS)
    ports = Ports(
        recorder=LogRecorder(database, views),
        receipts=ReceiptReads(views),
        gateway=GatewayThatNeedsTheDatabase(database),
        catalogue=Catalogue.load(None),
        currency="usd",
        reserve_order=Reservations(database).fresh,
        order_of_intent=IntentOrders(database).order_of,
    )
    ledger = OrderLedger(ports)
    assert ledger.create_order(CART, actor=CUSTOMER, cause=Cause(idempotency_key="k", request_hash="h")).order_id == 1
    assert differences(database) == []
    assert json.loads(ports.recorder.select_events("order-1")[0].state)["order_id"] == 1
    database.close()
