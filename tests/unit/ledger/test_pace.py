"""How a long job shares SQLite with others: the size of its transactions, and its pauses."""

from __future__ import annotations

import pytest

from ledger.storage.pace import Pace


class Clock:
    """Time that passes when somebody sleeps, or says so."""

    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(held=0.03, gap=0.025, monotonic=clock, sleep=clock.sleep)


def transaction(pace: Pace, clock: Clock, seconds: float) -> None:
    with pace.measured():
        clock.now += seconds


def test_transactions_are_sized_by_how_long_the_last_one_took(pace: Pace, clock: Clock) -> None:
    transaction(pace, clock, 0.03)
    assert pace.size == 2_000
    transaction(pace, clock, 0.02)
    assert pace.size == 3_000
    transaction(pace, clock, 0.001)
    assert pace.size == 6_000  # not more than twice as much at once
    transaction(pace, clock, 5)
    assert pace.size == 3_000
    for _ in range(20):
        transaction(pace, clock, 5)
    assert pace.size == 200
    for _ in range(20):
        transaction(pace, clock, 0.0)
    assert pace.size == 50_000


def test_nobody_is_waited_for_on_a_quiet_database(pace: Pace, clock: Clock) -> None:
    for _ in range(3):
        pace.saw(7)
        transaction(pace, clock, 0.03)
        pace.wait()
    assert (pace.busy, clock.slept) == (False, [])


def test_others_get_their_turn_while_they_write(pace: Pace, clock: Clock) -> None:
    pace.saw(7)
    pace.saw(8)
    transaction(pace, clock, 0.01)
    pace.wait()
    assert clock.slept == [0.025]
    transaction(pace, clock, 0.01)
    clock.now += 0.02
    pace.wait()
    assert clock.slept == [0.025, 0.005]
    transaction(pace, clock, 0.4)
    pace.wait()
    assert clock.slept == [0.025, 0.005, 0.15]  # as for an index: who has polled for so long looks rarely
    transaction(pace, clock, 0.01)
    clock.now += 1
    pace.wait()
    assert clock.slept == [0.025, 0.005, 0.15]
    clock.now += 2
    assert not pace.busy
