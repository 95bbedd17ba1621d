"""What a command tells when it has ended, and how its conflicts are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from eventsourcing.persistence import IntegrityError

from ledger.actor import Actor, Cause, Role
from ledger.attempts import MAX_ATTEMPTS, Attempts
from ledger.errors import Busy, PaymentsUnavailable, UnknownOrder
from ledger.observer import Command, Ended, Nobody, Observed, TellEnd
from ledger.outcomes import Arranged, Outcome
from ledger.receipts import Receipt
from ledger.statuses import Status

CUSTOMER = Actor(1, Role.CUSTOMER)
MOVE = Command("change_status", CUSTOMER, Cause(), 7)
RECORDED = Outcome(7, 2, Status.SHIPPED, position=40)


class Heard(Nobody):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.conflicts = self.replays = 0

    def begun(self, command: Command) -> TellEnd:
        assert command.name
        return self.ended.append

    def conflicted(self) -> None:
        self.conflicts += 1

    def replayed(self) -> None:
        self.replays += 1


class Kept:
    """Has led to something, under every key."""

    def find(self, source: str, key: str) -> Receipt | None:
        assert (source, key) == ("user-1", "k")
        return Receipt("hash", 9, 3, Status.PENDING)


def losing(times: int) -> Callable[[], Outcome]:
    """An attempt that others are faster than, so many times."""
    left = iter(range(times))

    def attempt() -> Outcome:
        if next(left, None) is not None:
            raise IntegrityError
        return RECORDED

    return attempt


def raising(error: BaseException) -> Callable[[], Outcome]:
    def attempt() -> Outcome:
        raise error

    return attempt


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def attempts(heard: Heard) -> Attempts:
    return Attempts(Kept(), Observed(heard))


@pytest.mark.parametrize("times", [0, 1, MAX_ATTEMPTS - 1])
def test_a_command_that_loses_decides_again_and_ends_once(attempts: Attempts, heard: Heard, times: int) -> None:
    assert attempts.until_won(MOVE, losing(times)) is RECORDED

    assert heard.conflicts == times
    [ended] = heard.ended
    assert (ended.command, ended.outcome, ended.order_id, ended.failed) == (MOVE, "recorded", 7, False)
    assert ended.seconds >= 0


def test_a_command_that_loses_for_ever_is_told_so(attempts: Attempts, heard: Heard) -> None:
    with pytest.raises(Busy):
        attempts.until_won(MOVE, losing(MAX_ATTEMPTS))

    assert heard.conflicts == MAX_ATTEMPTS
    assert [(ended.outcome, ended.failed) for ended in heard.ended] == [("busy", True)]


def test_a_command_that_came_before_is_answered_again(attempts: Attempts, heard: Heard) -> None:
    cause = Cause(idempotency_key="k", request_hash="hash")

    again = attempts.once(Command("create_order", CUSTOMER, cause), raising(AssertionError()))

    assert again == Outcome(9, 3, Status.PENDING, replayed=True)
    assert heard.replays == 1
    assert [(ended.outcome, ended.order_id) for ended in heard.ended] == [("repeated", 9)]


@pytest.mark.parametrize(
    ("error", "outcome", "failed"),
    [
        (UnknownOrder("There is no order 7."), "unknown-order", False),
        (PaymentsUnavailable("Not now."), "payments-unavailable", True),
        (KeyError("nobody thought of this"), "failed", True),
        (KeyboardInterrupt(), "failed", True),
    ],
)
def test_what_a_command_comes_to_that_raises(
    attempts: Attempts, heard: Heard, error: BaseException, outcome: str, failed: bool
) -> None:
    with pytest.raises(type(error)):
        attempts.until_won(MOVE, raising(error))

    assert [(ended.outcome, ended.failed, ended.order_id) for ended in heard.ended] == [(outcome, failed, 7)]
    assert heard.conflicts == 0


def test_what_has_nothing_to_record(attempts: Attempts, heard: Heard) -> None:
    attempts.until_won(MOVE, lambda: Outcome(7, 1, Status.PENDING))
    attempts.until_won(MOVE, lambda: None)
    attempts.until_won(Command("arrange_leads", CUSTOMER, Cause()), lambda: Arranged([], 4, position=2))

    assert [(ended.outcome, ended.order_id) for ended in heard.ended] == [
        ("unchanged", 7),
        ("unchanged", 7),
        ("recorded", None),
    ]
