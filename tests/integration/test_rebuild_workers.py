"""Rebuilds whose log is folded by several processes: the same rows, the same refusals, and nobody is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from ledger.errors import StorageUnavailable
from ledger.storage import open_database
from projections import parallel
from projections.parallel import Workers
from projections.poison import Poison, PoisonEvent
from projections.rebuild import rebuild
from projections.store import VIEWS
from projections.watcher import Watcher
from tests.support.cli import CLI, ROOT, environ_of
from tests.support.rebuilds import SPAWN, VIEW_OF, fill, rows_of
from tests.support.storages import opened_store

ORDERS = VIEW_OF["orders"]


def test_the_rows_are_the_same(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_POSITIONS", 10)  # so that there are more parts than workers
    with opened_store(database_url) as store, Workers(partial(open_database, database_url), 2) as workers:
        fill(store, 40)
        for view in VIEWS:
            inline = rows_of(store, view)
            rebuild(store.database, view, VIEWS, source=workers.batches)
            assert rows_of(store, view) == inline != []
        store.assert_sound()


def test_poison_is_found_by_who_writes(database_url: str) -> None:
    with opened_store(database_url) as store, Workers(partial(open_database, database_url), 2) as workers:
        fill(store, 5)
        with store.database.write() as cursor:
            cursor.execute(
                "INSERT INTO events SELECT max(position) + 1, 'order-1', 99, 'StatusChanged', '{' FROM events"
            )
        with pytest.raises(PoisonEvent, match="order-1 version 99"):
            rebuild(store.database, ORDERS, VIEWS, source=workers.batches)
        kept: list[Poison] = []
        assert rebuild(store.database, ORDERS, VIEWS, source=workers.batches, set_aside=kept.extend).skipped == 1
        assert [poison.event.stream for poison in kept] == ["order-1"]


def test_a_worker_that_is_killed_ends_the_rebuild_and_not_the_view(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_POSITIONS", 3)

    def kill_workers(phase: str) -> None:
        if phase == "writing":
            for process in multiprocessing.active_children():
                process.kill()

    with opened_store(database_url) as store, Workers(partial(open_database, database_url), 2) as workers:
        fill(store, 40)
        before = rows_of(store)
        with pytest.raises(StorageUnavailable, match="worker process"):
            rebuild(store.database, ORDERS, VIEWS, watcher=Watcher(at=kill_workers), source=workers.batches)
        assert rows_of(store) == before
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()


def rebuild_and_die_with_workers(url: str, pids: Path) -> None:
    def at(phase: str) -> None:
        if phase == "indexing":
            pids.write_text(" ".join(str(process.pid) for process in multiprocessing.active_children()))
            os.kill(os.getpid(), signal.SIGKILL)

    with Workers(partial(open_database, url), 2) as workers:
        rebuild(open_database(url), ORDERS, VIEWS, watcher=Watcher(at=at), source=workers.batches)


def test_workers_end_with_their_parent(database_url: str, tmp_path: Path) -> None:
    with opened_store(database_url) as store:
        fill(store, 5)
        parent = SPAWN.Process(target=rebuild_and_die_with_workers, args=(database_url, tmp_path / "pids"))
        parent.start()
        parent.join()
        assert parent.exitcode == -signal.SIGKILL
        orphans = []
        for pid in (tmp_path / "pids").read_text().split():
            with suppress(psutil.NoSuchProcess):
                orphans.append(psutil.Process(int(pid)))
        _, alive = psutil.wait_procs(orphans, timeout=60)
        assert alive == []
        rebuild(store.database, ORDERS, VIEWS)
        store.assert_sound()


def test_the_command(database_url: str) -> None:
    with opened_store(database_url) as store:
        fill(store, 5)
        inline = rows_of(store)
        environ = environ_of(LEDGER_DATABASE_URL=database_url)
        done = subprocess.run(
            (*CLI, "rebuild", "--workers", "2"), cwd=ROOT, env=environ, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        assert rows_of(store) == inline
        store.assert_sound()
