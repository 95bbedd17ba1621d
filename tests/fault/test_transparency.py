"""The follower under fire: killed at every point of a step, two of them at once, and writers meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.clock import utc_now
from ledger.storage import Database, open_database
from ledger.storage.recorder import read_log
from ledger.transparency.chain import Chain
from ledger.transparency.checkpoints import open_checkpoint
from projections.migrate import migrate
from projections.transparency import Follower, log_sizes
from projections.tree import read_tiles, read_tree
from projections.verify import verify_database
from tests.support.busy import log_key
from tests.support.rebuilds import die_at
from tests.support.storages import CUSTOMER, opened_store
from tests.support.writers import writers

KEY = log_key()
POINTS = ("locked", "attested", "appended", "committed", "signed", "stored", "published")
EVENTS = 6000
SECONDS = 120


def follow_and_die(url: str, point: str) -> None:
    """Follows and signs, and is killed where it has reached this point a third time."""
    database = open_database(url, timeout=30)
    reached = die_at(point, 3)
    following = Follower(database, [KEY], KEY.name, clock=utc_now, batch=50, sign_every=timedelta(0), reached=reached)
    while True:
        following.advance()
        following.sign(utc_now())


def follow_until_told(url: str, stop: multiprocessing.synchronize.Event) -> None:
    """Follows in steps of its own size until the writers are done and nothing is left."""
    database = open_database(url, timeout=30)
    following = Follower(database, [KEY], KEY.name, clock=utc_now, batch=37 + os.getpid() % 50, sign_every=timedelta(0))
    while True:
        last = stop.is_set()
        if not following.step() and last:
            return


def assert_whole(database: Database) -> None:
    """Tiles, state and every checkpoint that was ever signed are those of the events."""
    with database.snapshot() as cursor:
        rows = cursor.execute("SELECT size, note FROM log_checkpoints ORDER BY size")
        notes = {size: open_checkpoint(note.encode(), [KEY.verifier], origin=KEY.name) for size, note in rows}
        tree, chain, leaves, matched = read_tree(cursor), Chain(), [], 0
        for event in read_log(cursor):
            assert list(chain.add(event)) == []
            leaves.append(chain.leaf)
            if chain.size == tree.size:
                assert chain.root() == tree.root()
            if chain.size in notes:
                assert notes[chain.size].root == chain.root()
                matched += 1
        tiles = b"".join(hashes for _, hashes in read_tiles(cursor, 0))
    assert matched == len(notes) > 0, "a checkpoint was signed of events that are not there"
    assert max(notes) <= tree.size <= len(leaves)
    assert tiles == b"".join(leaves[: tree.size])
    faults = verify_database(database, [], [KEY.verifier]).findings.faults
    assert [fault for fault in faults if "Unrelated" not in fault] == []


@pytest.mark.parametrize("point", POINTS)
def test_a_follower_that_is_killed_leaves_a_whole_tree(database_url: str, point: str) -> None:
    database = open_database(database_url, timeout=30)
    migrate(database)
    context = multiprocessing.get_context("spawn")
    with writers(database_url, processes=1, threads=2, events=EVENTS // 10) as at_work:
        killed = context.Process(target=follow_and_die, args=(database_url, point))
        killed.start()
        with opened_store(database_url) as store:
            while killed.is_alive():
                store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        killed.join(SECONDS)
        assert killed.exitcode == -signal.SIGKILL
        while at_work.alive():
            time.sleep(0.01)
        assert at_work.failed() == []
    before = log_sizes(database)
    assert before.checkpoint <= before.tree <= before.head
    following = Follower(database, [KEY], KEY.name, clock=utc_now)
    while following.step():
        pass
    assert log_sizes(database).checkpoint == log_sizes(database).head
    assert_whole(database)
    database.close()


def test_two_followers_share_the_work_and_never_fork(database_url: str, tmp_path: Path) -> None:
    database = open_database(database_url, timeout=30)
    migrate(database)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    followers = [context.Process(target=follow_until_told, args=(database_url, stop)) for _ in range(2)]
    for each in followers:
        each.start()
    with writers(database_url, processes=2, threads=2, events=EVENTS) as at_work:
        while at_work.alive():
            sizes = log_sizes(database)
            assert sizes.checkpoint <= sizes.tree <= sizes.head
        assert at_work.failed() == []
    stop.set()
    for each in followers:
        each.join(SECONDS)
        assert each.exitcode == 0
    sizes = log_sizes(database)
    assert sizes.head >= EVENTS
    assert sizes.checkpoint == sizes.tree == sizes.head
    assert_whole(database)
    database.close()
