"""Progress: how far, how fast, how much longer, and that a stall shows as one."""

from __future__ import annotations

import threading

from projections.watcher import Progress
from scripts.progress import Meter, Reading, heartbeat


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(done: int, phase: str = "copying", head: int = 1000, skipped: int = 0) -> Progress:
    return Progress("orders", phase, done, head, skipped)


def read(meter: Meter) -> Reading:
    reading = meter.read()
    assert reading is not None
    return reading


def test_there_is_nothing_to_say_before_anything_was_told() -> None:
    assert Meter(Clock()).read() is None


def test_speed_and_time_left_are_those_of_late() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.tell(at(0))
    for second in range(1, 41):
        clock.now += 1
        meter.tell(at(10 * second))
    assert read(meter).line() == "orders: copying, 400 of 1,000 events, 10/s, 60 s left"
    for second in range(1, 13):
        clock.now += 1
        meter.tell(at(400 + 30 * second))
    assert read(meter).line() == "orders: copying, 760 of 1,000 events, 30/s, 8 s left"


def test_a_stall_shows_as_a_stall() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.tell(at(0))
    clock.now += 1
    meter.tell(at(500))
    clock.now += 7
    assert read(meter).line() == "orders: copying, 500 of 1,000 events, nothing has moved for 7 s"
    assert read(meter).record() == {
        "view": "orders",
        "phase": "copying",
        "done": 500,
        "head": 1000,
        "skipped": 0,
        "eventsPerSecond": 62,
        "secondsLeft": 8.0,
        "secondsStill": 7.0,
    }
    meter.tell(at(500))
    assert read(meter).still == 7
    meter.tell(at(500, "waiting"))
    assert read(meter).still == 0


def test_the_speed_of_one_phase_is_not_that_of_the_next() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.tell(at(0))
    clock.now += 1
    assert not meter.tell(at(1000))
    assert meter.tell(at(1000, "indexing", skipped=3))
    assert read(meter).line() == "orders: indexing, 1,000 of 1,000 events, 3 set aside"


def test_the_heart_beats_whether_anything_moves_or_not() -> None:
    meter = Meter(Clock())
    shown: list[Reading] = []
    thrice = threading.Event()

    def show(reading: Reading) -> None:
        shown.append(reading)
        if len(shown) == 3:
            thrice.set()

    with heartbeat(meter, show, 0.001):
        meter.tell(at(7))
        assert thrice.wait(60)
    assert {reading.progress for reading in shown} == {at(7)}
