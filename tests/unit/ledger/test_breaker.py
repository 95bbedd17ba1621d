"""The breaker: what it lets through, and that it never holds a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.payments.breaker import Breaker, TurnedAway

PLACES = 3
FAILURES = 3
SECONDS = 10
WAIT = 30


class Down(Exception):
    """The service does not work."""


class Refused(Exception):
    """The service works, and says no."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(
        lambda error: isinstance(error, Down), places=PLACES, failures=FAILURES, seconds=SECONDS, timer=clock
    )


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Down):
            breaker.call(raising(Down()))


def turned_away(breaker: Breaker) -> bool:
    """Whether a call is not made."""
    try:
        return not breaker.call(lambda: True)
    except TurnedAway:
        return True


class Call:
    """A call that is under way until it is told how to end."""

    def __init__(self, breaker: Breaker, pool: ThreadPoolExecutor) -> None:
        self._started, self._go_on = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._future = pool.submit(breaker.call, self._work)
        assert self._started.wait(WAIT)

    def _work(self) -> str:
        self._started.set()
        assert self._go_on.wait(WAIT)
        if self._error is not None:
            raise self._error
        return "done"

    def end(self, error: Exception | None = None) -> None:
        self._error = error
        self._go_on.set()
        if error is None:
            assert self._future.result(WAIT) == "done"
        else:
            assert self._future.exception(WAIT) is error


def test_it_hands_on_what_comes(breaker: Breaker) -> None:
    assert breaker.call(lambda: 17) == 17
    with pytest.raises(Refused):
        breaker.call(raising(Refused()))


def test_after_so_many_failures_in_a_row_no_call_is_made(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES)
    clock.now += SECONDS - 0.1
    assert turned_away(breaker)
    clock.now += 0.1
    assert not turned_away(breaker)


def test_an_answer_ends_a_row_of_failures_and_so_does_a_refusal(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    assert not turned_away(breaker)
    fail(breaker, FAILURES - 1)
    with pytest.raises(Refused):
        breaker.call(raising(Refused()))
    fail(breaker, FAILURES - 1)
    assert not turned_away(breaker)


def test_one_call_probes_and_its_success_lets_all_go_on(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES)
    clock.now += SECONDS
    with ThreadPoolExecutor() as pool:
        probe = Call(breaker, pool)
        assert turned_away(breaker)
        probe.end()
    assert not turned_away(breaker)
    fail(breaker, FAILURES - 1)
    assert not turned_away(breaker)


@pytest.mark.parametrize("error", [Down(), KeyboardInterrupt()])
def test_a_probe_that_fails_or_is_cut_off_begins_the_pause_anew(
    breaker: Breaker, clock: Clock, error: BaseException
) -> None:
    fail(breaker, FAILURES)
    clock.now += SECONDS
    with pytest.raises(type(error)):
        breaker.call(raising(error))
    clock.now += SECONDS - 0.1
    assert turned_away(breaker)
    clock.now += 0.1
    assert not turned_away(breaker)


def test_calls_run_at_the_same_time_and_never_more_than_there_are_places(breaker: Breaker) -> None:
    with ThreadPoolExecutor() as pool:
        calls = [Call(breaker, pool) for _ in range(PLACES)]
        assert turned_away(breaker)
        calls.pop().end(Refused())
        assert not turned_away(breaker)
        for call in calls:
            call.end()
    assert not turned_away(breaker)


@pytest.mark.parametrize("outcome", [None, Down()])
def test_a_call_that_set_out_before_the_pause_says_nothing_about_it(
    breaker: Breaker, clock: Clock, outcome: Exception | None
) -> None:
    with ThreadPoolExecutor() as pool:
        straggler = Call(breaker, pool)
        fail(breaker, FAILURES)
        clock.now += SECONDS - 1
        straggler.end(outcome)
    assert turned_away(breaker)
    clock.now += 1
    assert not turned_away(breaker)


def test_who_is_turned_away_takes_no_place(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES)
    for _ in range(2 * PLACES):
        assert turned_away(breaker)
    clock.now += SECONDS
    with ThreadPoolExecutor() as pool:
        Call(breaker, pool).end()
        calls = [Call(breaker, pool) for _ in range(PLACES)]
        for call in calls:
            call.end()
