"""The line of processes that write to one SQLite file. A queue of its own stands for each process here: locks on files
are between open files."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from ledger.errors import StorageUnavailable
from ledger.storage.sqlite_queue import WritersQueue
from tests.support.storages import CUSTOMER, opened_store

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def queues(path: Path) -> Iterator[list[WritersQueue]]:
    made = [WritersQueue(path, 30) for _ in range(3)]
    yield made
    for queue in made:
        queue.close()


def test_one_at_a_time(queues: list[WritersQueue]) -> None:
    inside, most = 0, 0

    def work(queue: WritersQueue) -> None:
        nonlocal inside, most
        for _ in range(200):
            with queue.turn():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [Thread(target=work, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_has_just_had_a_turn_is_not_the_next_one_while_somebody_waits(path: Path) -> None:
    turns: list[str] = []
    waits, ended = Event(), Event()

    def noted(_: float) -> None:
        waits.set()
        ended.wait(0.001)

    busy, patient = WritersQueue(path, 30), WritersQueue(path, 30, sleep=noted)

    def wait_once() -> None:
        with patient.turn():
            turns.append("patient")

    waiting = Thread(target=wait_once)
    with busy.turn():
        waiting.start()
        assert waits.wait(30)  # it stands in line now
        turns.append("busy")
    for _ in range(20):
        with busy.turn():
            turns.append("busy")
    waiting.join()
    assert turns[:2] == ["busy", "patient"]


def test_a_turn_that_does_not_come_is_an_outage(path: Path, queues: list[WritersQueue]) -> None:
    now = iter(range(100))
    hasty = WritersQueue(path, 2, monotonic=lambda: next(now), sleep=lambda _: None)
    with queues[0].turn(), pytest.raises(StorageUnavailable, match="busy with other writes"), hasty.turn():
        pass
    with hasty.turn():
        pass  # it did not keep its place in line
    hasty.close()


def test_a_directory_that_takes_no_files_is_told(tmp_path: Path) -> None:
    queue = WritersQueue(tmp_path / "nowhere" / "ledger.db", 1)
    with pytest.raises(StorageUnavailable, match="can't be made"), queue.turn():
        pass


def hold(path: Path, holds: multiprocessing.synchronize.Event) -> None:
    with WritersQueue(path, 30).turn():
        holds.set()
        signal.pause()


def test_a_process_that_is_killed_gives_up_its_turn(path: Path, queues: list[WritersQueue]) -> None:
    holds = SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(path, holds))
    holder.start()
    assert holds.wait(60)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    with queues[0].turn():
        pass
    holder.join()


def test_who_writes_without_asking_is_waited_for(path: Path) -> None:
    import sqlite3

    from ledger.actor import Cause
    from ledger.cart import CartItem

    with opened_store(f"sqlite:///{path}") as store:
        shell = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        shell.execute("BEGIN IMMEDIATE")
        done = Thread(target=lambda: (Event().wait(0.3), shell.execute("COMMIT")))
        done.start()
        store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        done.join()
        shell.close()
        store.assert_sound()
