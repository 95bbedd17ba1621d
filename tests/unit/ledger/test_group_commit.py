"""Group commit: who waits together is written together, and nobody suffers for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from eventsourcing.persistence import IntegrityError
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import StorageUnavailable
from ledger.storage.group_commit import GroupCommit

PATIENCE = 30


class Log:
    """A write function that keeps what it wrote, refuses items below zero, and can be held in the middle."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.attempts: list[int] = []
        self.writing = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: BaseException | None = None

    def write(self, items: Sequence[int]) -> Sequence[str]:
        self.attempts.append(len(items))
        self.writing.set()
        assert self.go_on.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        if any(item < 0 for item in items):
            raise IntegrityError("negative")
        self.batches.append(list(items))
        return [f"wrote {item}" for item in items]

    @property
    def written(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


def held(log: Log, commits: GroupCommit[int, str], pool: ThreadPoolExecutor, items: Sequence[int]) -> list[Future[str]]:
    """Submits the first item, holds its write until all the others wait, and lets go."""
    log.go_on.clear()
    futures = [pool.submit(commits.submit, items[0])]
    assert log.writing.wait(PATIENCE)
    for number, item in enumerate(items[1:], 1):
        futures.append(pool.submit(commits.submit, item))
        until(lambda number=number: len(commits._waiting) == number)
    log.go_on.set()
    return futures


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to be")


def test_a_caller_alone_writes_at_once() -> None:
    log = Log()
    commits = GroupCommit(log.write)
    assert [commits.submit(item) for item in (1, 2, 3)] == ["wrote 1", "wrote 2", "wrote 3"]
    assert log.batches == [[1], [2], [3]]


def test_who_waits_together_is_written_together_in_order() -> None:
    log = Log()
    commits = GroupCommit(log.write, max_batch=3)
    with ThreadPoolExecutor(8) as pool:
        results = [future.result(PATIENCE) for future in held(log, commits, pool, range(8))]
    assert results == [f"wrote {item}" for item in range(8)]
    assert log.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=16))
def test_one_callers_failure_is_nobody_elses(fine: list[bool]) -> None:
    log = Log()
    commits = GroupCommit(log.write)
    items = [number + 1 if good else -number - 1 for number, good in enumerate(fine)]
    with ThreadPoolExecutor(len(items)) as pool:
        futures = held(log, commits, pool, items)
        for item, future in zip(items, futures, strict=True):
            if item > 0:
                assert future.result(PATIENCE) == f"wrote {item}"
            else:
                with pytest.raises(IntegrityError):
                    future.result(PATIENCE)
    assert log.written == [item for item in items if item > 0]


def test_one_failure_among_many_costs_few_writes() -> None:
    log = Log()
    commits = GroupCommit(log.write)
    with ThreadPoolExecutor(65) as pool:
        futures = held(log, commits, pool, [0, -1, *range(2, 65)])
        errors = [future.exception(PATIENCE) for future in futures]
    assert sum(error is not None for error in errors) == 1
    assert len(log.attempts) <= 2 + 2 * 6  # the lone first, the batch, and two halves for each halving


def test_an_outage_is_everybodys_and_ends_with_it() -> None:
    log = Log()
    commits = GroupCommit(log.write)
    log.error = StorageUnavailable("down")
    with ThreadPoolExecutor(4) as pool:
        for future in held(log, commits, pool, range(4)):
            with pytest.raises(StorageUnavailable):
                future.result(PATIENCE)
    assert log.attempts == [1, 3]  # nobody is tried again alone against a database that is down
    log.error = None
    assert commits.submit(5) == "wrote 5"


def test_a_leader_that_is_torn_down_leaves_nobody_waiting() -> None:
    log = Log()
    commits = GroupCommit(log.write)
    log.error = SystemExit()
    with ThreadPoolExecutor(4) as pool:
        futures = held(log, commits, pool, range(4))
        errors = [future.exception(PATIENCE) for future in futures]
    assert isinstance(errors[0], SystemExit)
    assert all(isinstance(error, SystemExit | StorageUnavailable) for error in errors)
    log.error = None
    assert commits.submit(5) == "wrote 5"


def test_a_full_queue_is_said_at_once() -> None:
    log = Log()
    commits = GroupCommit(log.write, max_waiting=2)
    with ThreadPoolExecutor(4) as pool:
        log.go_on.clear()
        first = pool.submit(commits.submit, 0)
        assert log.writing.wait(PATIENCE)
        until(lambda: not commits._waiting)
        others = [pool.submit(commits.submit, item) for item in (1, 2)]
        until(lambda: len(commits._waiting) == 2)
        with pytest.raises(StorageUnavailable, match="Too many writes"):
            commits.submit(3)
        log.go_on.set()
        assert [future.result(PATIENCE) for future in (first, *others)] == ["wrote 0", "wrote 1", "wrote 2"]
    assert log.written == [0, 1, 2]
