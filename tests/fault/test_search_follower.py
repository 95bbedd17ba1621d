"""The follower of the search under fire: killed at every point of a step, and two at once while many write."""

from __future__ import annotations

import multiprocessing
import signal

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.statuses import Status
from ledger.storage import open_database
from projections.search_follower import SearchFollower, begin_again
from projections.searchable import positions
from tests.support.busy import make_busy
from tests.support.rebuilds import die_at
from tests.support.storages import CUSTOMER, STAFF, opened_store

POINTS = ("locked", "written", "counted", "moved", "committed", "emptied")
SECONDS = 60


def follow_and_die(url: str, point: str) -> None:
    """Follows, and is killed where it has reached this point a third time."""
    follower = SearchFollower(open_database(url, timeout=30), batch=1, reached=die_at(point, 3))
    while True:
        follower.step()


def follow_to_the_end(url: str, batch: int) -> None:
    database = open_database(url, timeout=30)
    follower = SearchFollower(database, batch=batch)
    while True:
        if not follower.step():
            with database.read() as cursor:
                position, head = positions(cursor)
            if position == head:
                return


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_it_goes_on_where_it_was(database_url: str, point: str) -> None:
    with opened_store(database_url) as store:
        make_busy(store)
        if point == "emptied":
            follow_to_the_end(database_url, 5)
            begin_again(store.database)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=follow_and_die, args=(database_url, point))
        process.start()
        process.join(SECONDS)
        assert process.exitcode == -signal.SIGKILL
        store.assert_sound()  # whatever it has done is all of it
        with store.database.read() as cursor:
            position, head = positions(cursor)
        assert position < head
        store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
        follow_to_the_end(database_url, 4)
        store.assert_sound()
        with store.database.read() as cursor:
            assert positions(cursor) == (head + 1, head + 1)


def test_several_take_turns(database_url: str) -> None:
    with opened_store(database_url) as store:
        for number in range(1, 101):
            store.ledger.create_order([CartItem("1", number % 7 + 1)], actor=CUSTOMER, cause=Cause())
            if number % 2:
                store.ledger.change_status(number, Status.CANCELLED, actor=STAFF, cause=Cause())
        context = multiprocessing.get_context("spawn")
        started = [context.Process(target=follow_to_the_end, args=(database_url, batch)) for batch in (1, 2, 3)]
        for each in started:
            each.start()
        for each in started:
            each.join(SECONDS)
            assert each.exitcode == 0
        store.assert_sound()
        with store.database.read() as cursor:
            assert positions(cursor) == (150, 150)
