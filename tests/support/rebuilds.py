"""Ledgers to be rebuilt, and processes that rebuild them and are killed, or write and read meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem
from ledger.leads import LeadMove
from ledger.statuses import Status
from ledger.storage import open_database
from projections.rebuild import rebuild, roll_back
from projections.store import VIEWS
from projections.view import View
from projections.watcher import Watcher
from tests.support.storages import CUSTOMER, PAYMENTS, STAFF, Store, opened_store

Ends = tuple[Any, Any, Any]
"""What tells a process to stop, takes its failures, and takes how long each thing took."""

SPAWN = multiprocessing.get_context("spawn")
_PAUSE = 0.01
"""Seconds between two orders: several processes that write without pause starve each other on SQLite by themselves."""

VIEW_OF = {view.name: view for view in VIEWS}


def fill(store: Store, orders: int) -> None:
    """Orders in many states, with keys, payments and boards, so that every view has rows that were updated."""
    for number in range(orders):
        cause = Cause(idempotency_key=f"k{number}", request_hash="h")
        order_id = store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=cause).order_id
        if number % 3 == 0:
            paid = Cause(stripe_event_id=f"evt_{order_id}")
            store.ledger.record_payment(store.gateway.settle(order_id), actor=PAYMENTS, cause=paid)
        if number % 3 == 1:
            store.ledger.change_status(order_id, Status.AWAITING_PAYMENT, actor=STAFF, cause=Cause())
        if number % 10 == 0:
            board = Actor(1 + number % 20, Role.CUSTOMER)
            store.ledger.arrange_leads([LeadMove(1, 2 + number % 3)], actor=board, cause=Cause())


def rows_of(store: Store, view: View = VIEW_OF["orders"]) -> list[tuple[Any, ...]]:
    """The live rows of a view, by key."""
    with store.database.read() as cursor:
        return cursor.execute(f"SELECT {', '.join(view.table.columns)} FROM {view.table.name} ORDER BY 1, 2")


def tables_of(store: Store) -> list[str]:
    """The names of all tables."""
    queries = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgres": "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    }
    with store.database.read() as cursor:
        return sorted(name for (name,) in cursor.execute(queries[store.database.dialect]))


def die_at(phase: str, count: int) -> Callable[[str], None]:
    """Kill -9 of this process when a rebuild, or a follower, is at that phase for the ``count``-th time."""
    seen = 0

    def at(reached: str) -> None:
        nonlocal seen
        seen += reached == phase
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def rebuild_and_die(url: str, view: str, phase: str, *, count: int = 1, back: bool = False) -> None:
    """In a process of its own: a rebuild (or the way back) that is killed at that phase."""
    database = open_database(url)
    watcher = Watcher(at=die_at(phase, count))
    (roll_back if back else rebuild)(database, VIEW_OF[view], VIEWS, watcher=watcher)
    database.close()


def killed_at(url: str, view: str, phase: str, *, count: int = 1, back: bool = False) -> bool:
    """Whether a rebuild in another process was killed there, rather than come to its end."""
    process = SPAWN.Process(target=rebuild_and_die, args=(url, view, phase), kwargs={"count": count, "back": back})
    process.start()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def write_for(url: str, known: Sequence[View], user: int, ends: Ends) -> None:
    """Creates and moves orders of one user, and reads each back at once, until told to stop."""
    stop, failures, counted = ends
    with opened_store(url, known) as store:
        buyer = Actor(user, Role.CUSTOMER)
        while not stop.is_set():
            began = time.monotonic()
            try:
                _one_order(store, buyer, failures)
            except Exception as error:
                failures.put(f"user {user}: {error!r}")
                return
            counted.put(time.monotonic() - began)
            stop.wait(_PAUSE)


def _one_order(store: Store, buyer: Actor, failures: Any) -> None:
    placed = store.ledger.create_order([CartItem("1")], actor=buyer, cause=Cause()).order_id
    seen = store.orders.detail(placed, buyer)
    if seen is None or seen.version != 1:
        failures.put(f"order {placed} is not there after it was placed")
    store.ledger.change_status(placed, Status.CANCELLED, actor=buyer, cause=Cause())
    seen = store.orders.detail(placed, buyer)
    if seen is None or seen.version != 2 or b'"status":"cancelled"' not in seen.body:
        failures.put(f"order {placed} is not cancelled after it was")


def read_for(url: str, known: Sequence[View], expected: int, ends: Ends) -> None:
    """Reads whole pages of user 1, which has that many orders at the least; fewer are a view that is half built."""
    stop, failures, _ = ends
    with opened_store(url, known) as store:
        while not stop.is_set():
            try:
                page = store.orders.page(1, status=None, before=None, limit=expected)
            except Exception as error:
                failures.put(f"reader: {error!r}")
                return
            found = page.body.count(b'"products":')
            if found != expected:
                failures.put(f"{found} orders of {expected}: a view that is half built")


class AtWork:
    """Processes that write and read until the block ends."""

    def __init__(self) -> None:
        self.failures: Any = SPAWN.Queue()
        self.counted: Any = SPAWN.Queue()
        self.stop: Any = SPAWN.Event()
        self.done = 0
        self.longest = 0.0

    def wait_for(self, count: int) -> None:
        """Waits until so many more orders are placed and moved, or something has failed."""
        goal = self.done + count
        while self.done < goal and self.failures.empty():
            with suppress(queue.Empty):  # then something may have failed
                self.longest = max(self.longest, self.counted.get(timeout=1))
                self.done += 1

    def failed(self) -> list[str]:
        """What failed."""
        failed = []
        while not self.failures.empty():
            failed.append(self.failures.get())
        return failed


@contextmanager
def at_work(url: str, known: Sequence[View], *, writers: int, readers: int, expected: int) -> Iterator[AtWork]:
    """Starts the processes and waits until they are at it."""
    work = AtWork()
    ends = (work.stop, work.failures, work.counted)
    started = [SPAWN.Process(target=write_for, args=(url, known, 100 + n, ends)) for n in range(writers)]
    started += [SPAWN.Process(target=read_for, args=(url, known, expected, ends)) for _ in range(readers)]
    for process in started:
        process.start()
    try:
        work.wait_for(20)
        yield work
    finally:
        work.stop.set()
        for process in started:
            while process.is_alive():
                _drain(work)
                process.join(0.05)
        _drain(work)


def _drain(work: AtWork) -> None:
    while not work.counted.empty():
        work.longest = max(work.longest, work.counted.get())
        work.done += 1
