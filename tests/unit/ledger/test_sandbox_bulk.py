"""The sandbox for orders in bulk: what it remembers, and what it hands over to be written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import pytest

from ledger.errors import PaymentNotConfirmed, UnknownPayment
from ledger.payments.gateway import PaymentKind
from ledger.payments.sandbox_bulk import BulkSandbox
from ledger.storage import open_database


@pytest.fixture
def sandbox() -> Iterator[BulkSandbox]:
    database, numbers = open_database("sqlite:///:memory:"), count(1)
    yield BulkSandbox(database, new_token=lambda: f"{next(numbers)}", clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    database.close()


def states(sandbox: BulkSandbox) -> list[tuple[str, int, int]]:
    """The states of the intents that would be inserted."""
    return [row[1:] for row in sandbox.writes().inserts]


def test_an_intent_that_nothing_happened_to_is_remembered_and_not_written(sandbox: BulkSandbox) -> None:
    intent = sandbox.create_intent(7, 500, "usd", "key")
    assert sandbox.retrieve_intent(intent.id) == intent
    assert states(sandbox) == []


def test_a_payment_that_failed_and_then_came_is_one_new_row(sandbox: BulkSandbox) -> None:
    intent = sandbox.create_intent(7, 500, "usd", "key")
    failed = sandbox.settle_intent(intent.id, fail=True)
    assert (failed.kind, failed.amount, failed.order_id) == (PaymentKind.FAILED, 500, 7)
    assert states(sandbox) == [("requires_payment_method", 0, 0)]
    assert sandbox.settle_intent(intent.id, fail=False).kind is PaymentKind.RECEIVED
    assert states(sandbox) == [("succeeded", 500, 0)]


def test_what_is_written_already_is_updated_once_it_changes(sandbox: BulkSandbox) -> None:
    intent = sandbox.create_intent(7, 500, "usd", "key")
    sandbox.settle_intent(intent.id, fail=True)
    sandbox.written()
    sandbox.settle_intent(intent.id, fail=True)
    assert (sandbox.writes().inserts, sandbox.writes().updates) == ([], {})
    sandbox.settle_intent(intent.id, fail=False)
    columns = ("status", "amount_received", "amount_refunded")
    assert sandbox.writes().updates == {columns: [("succeeded", 500, 0, intent.id)]}


def test_a_cancelled_payment_can_not_come_and_a_paid_one_not_be_cancelled(sandbox: BulkSandbox) -> None:
    cancelled, paid = (sandbox.create_intent(number, 500, "usd", "key") for number in (7, 8))
    assert sandbox.cancel_intent(cancelled.id).status == "canceled"
    with pytest.raises(PaymentNotConfirmed):
        sandbox.settle_intent(cancelled.id, fail=False)
    sandbox.settle_intent(paid.id, fail=False)
    assert sandbox.cancel_intent(paid.id).status == "succeeded"
    assert sorted(states(sandbox)) == [("canceled", 0, 0), ("succeeded", 500, 0)]


def test_what_is_forgotten_is_neither_known_nor_written(sandbox: BulkSandbox) -> None:
    intent = sandbox.create_intent(7, 500, "usd", "key")
    sandbox.settle_intent(intent.id, fail=False)
    sandbox.forget(intent.id)
    assert states(sandbox) == []
    with pytest.raises(UnknownPayment):
        sandbox.retrieve_intent(intent.id)
