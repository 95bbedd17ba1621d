"""The thread that follows: what it waits out, what it keeps saying, and how its death is noticed."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Barrier, Event
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.errors import MalformedProof, NotProven, StorageUnavailable
from ledger.settings import Settings
from ledger.storage.log import RecordedEvent
from projections.health import SEARCH, TREE, WEBHOOKS, Health
from projections.poison import Poison, PoisonEvent
from projections.search_follower import SearchFollower
from projections.searchable import VIEW
from projections.transparency import Follower
from projections.webhooks.deliverer import Deliverer
from scripts.bootstrap import build
from scripts.follow import ALARM_SECONDS, POLL_SECONDS, Following, followings, stop


class Stopped:
    """Is set once it was waited for so often; notes how long each wait was."""

    def __init__(self, waits: int) -> None:
        self.waits: list[float] = []
        self._most = waits

    def is_set(self) -> bool:
        return len(self.waits) == self._most

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def stepping(*results: bool | Exception) -> Any:
    """A follower whose steps end so, one after the other."""
    left = list(results)

    def step() -> bool:
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    return SimpleNamespace(step=step, left=left)


def test_it_goes_on_at_once_while_there_is_more() -> None:
    stopped, follower = Stopped(1), stepping(True, True, False)

    Following(follower, stopped=stopped).run()  # type: ignore[arg-type]

    assert stopped.waits == [POLL_SECONDS]
    assert follower.left == []


@pytest.mark.parametrize(
    ("error", "level", "pause"),
    [
        (StorageUnavailable("gone"), "WARNING", POLL_SECONDS),
        (NotProven("changed"), "ERROR", ALARM_SECONDS),
        (MalformedProof("garbled"), "ERROR", ALARM_SECONDS),
        (PoisonEvent(VIEW, Poison(RecordedEvent(1, "order-1", 1, "OrderCreated", "{}"), "x")), "ERROR", ALARM_SECONDS),
    ],
)
def test_it_tells_what_keeps_it_and_looks_again(
    caplog: pytest.LogCaptureFixture, error: Exception, level: str, pause: float
) -> None:
    stopped = Stopped(2)

    with caplog.at_level(logging.WARNING):
        Following(stepping(error, False), stopped=stopped).run()  # type: ignore[arg-type]

    assert stopped.waits == [pause, POLL_SECONDS]
    assert [record.levelname for record in caplog.records] == [level]
    assert str(error) in caplog.text


@pytest.fixture
def health() -> Health:
    return Health(SimpleNamespace())  # type: ignore[arg-type]  the database is not asked once something is wrong


def test_it_stands_still_until_it_goes_on_again() -> None:
    stood = []

    class Looking(Stopped):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            stood.append(following.stands)

    results = stepping(NotProven("changed"), StorageUnavailable("gone"), False)
    following = Following(results, stopped=Looking(3))  # type: ignore[arg-type]
    following.run()

    assert stood == [True, True, False]


def test_a_follower_that_stands_still_keeps_the_process_from_serving(health: Health) -> None:
    health.watch(SimpleNamespace(name=TREE, is_alive=lambda: True, stands=True))
    assert next(iter(health.symptoms())).what == "The transparency log stands still."


def test_a_thread_that_has_died_is_noticed(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    following = Following(stepping(RuntimeError("nobody thought of this")))
    health.watch(following)
    following.start()
    following.join()

    assert "The follower of the transparency log has ended" in next(iter(health.symptoms())).what
    assert "nobody thought of this" in caplog.text


def test_each_follower_is_told_of_by_its_name(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    other = Following(stepping(RuntimeError("nobody thought of this")), SEARCH)
    health.watch(SimpleNamespace(name=TREE, is_alive=lambda: True, stands=False))
    health.watch(other)
    other.start()
    other.join()

    assert next(iter(health.symptoms())).what == "The follower of the view of the search has ended."
    assert "the follower of the view of the search has ended" in caplog.text


def test_a_thread_that_stands_still_says_what_it_follows(caplog: pytest.LogCaptureFixture) -> None:
    stood = Event()

    def step() -> bool:
        stood.set()
        raise NotProven("changed")

    following = Following(SimpleNamespace(step=step), SEARCH)  # type: ignore[arg-type]
    following.start()
    stood.wait()
    stop([following])

    assert not following.is_alive()
    assert "the view of the search stands still: changed" in caplog.text


def test_a_thread_ends_when_it_is_stopped() -> None:
    stepped = Event()

    def step() -> bool:
        stepped.set()
        return False

    following = Following(SimpleNamespace(step=step))  # type: ignore[arg-type]
    following.start()
    stepped.wait()
    stop([following])

    assert not following.is_alive()


def test_a_thread_that_is_stopped_before_it_has_begun_takes_no_step() -> None:
    stepped = Event()
    following = Following(SimpleNamespace(step=stepped.set))  # type: ignore[arg-type]
    stop([following])
    following.start()
    following.join()

    assert not stepped.is_set()
    assert not following.failed


def test_all_threads_end_at_the_same_time() -> None:
    """Each waits for all others to be told: one after the other none would end."""
    told = Barrier(3)
    stepping = Barrier(3)

    def follower() -> Any:
        def step() -> bool:
            stepping.wait(10)
            while not all(each.stopped.is_set() for each in followers):
                sleep(0.001)
            told.wait(10)
            return False

        return SimpleNamespace(step=step)

    followers = [Following(follower()) for _ in range(3)]
    for each in followers:
        each.start()
    stop(followers)

    assert not any(each.is_alive() or each.failed for each in followers)


def test_what_a_process_follows(tmp_path: Path) -> None:
    with build(Settings.from_env({"LEDGER_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"})) as runtime:
        followed = {thread.name: type(thread._follower) for thread in followings(runtime)}
    assert followed == {TREE: Follower, SEARCH: SearchFollower, WEBHOOKS: Deliverer}
