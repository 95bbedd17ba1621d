"""Payments on every storage: what notices, refunds and cancellations record, and what their races leave behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Barrier

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledger.actor import Actor, Cause
from ledger.application import OrderLedger
from ledger.cart import CartItem
from ledger.errors import (
    Forbidden,
    IdempotencyKeyReused,
    InvalidAmount,
    LedgerError,
    OrderNotThereYet,
    PaymentNotConfirmed,
    PaymentsUnavailable,
    RefundRefused,
    RefundRequired,
    StorageUnavailable,
    UnknownOrder,
    UnknownPayment,
    VersionMismatch,
)
from ledger.outcomes import Outcome
from ledger.payments.gateway import Intent, PaymentKind, PaymentNotice, Refund
from ledger.payments.sandbox import SandboxGateway
from ledger.receipts import Receipt, key_digest
from ledger.statuses import Status
from ledger.storage import Database
from ledger.storage.reservations import Reservations
from projections.live import LiveViews
from projections.payments import PaymentSummary
from projections.standings import StandingReads
from projections.store import VIEWS
from tests.support.lives import deliveries, lives
from tests.support.storages import ADMIN, AUDITOR, CUSTOMER, OTHER, PAYMENTS, STAFF, Store

KEYED = Cause(request_id="r", idempotency_key="key", request_hash="hash")
AMOUNT = 3998


def place(store: Store) -> int:
    return store.ledger.create_order([CartItem("1"), CartItem("1")], actor=CUSTOMER, cause=Cause()).order_id


def tell(store: Store, notice: PaymentNotice, event: str = "evt_1") -> Outcome | None:
    return store.ledger.record_payment(notice, actor=PAYMENTS, cause=Cause(stripe_event_id=event))


def pay(store: Store, order_id: int = 1) -> PaymentNotice:
    notice = store.gateway.settle(order_id)
    tell(store, notice, f"evt_paid_{order_id}")
    return notice


def move(store: Store, status: Status, actor: Actor = CUSTOMER, cause: Cause | None = None) -> Outcome:
    return store.ledger.change_status(1, status, actor=actor, cause=cause or Cause())


def refund(store: Store, amount: int | None = None, cause: Cause = KEYED, order_id: int = 1) -> Refund:
    return store.ledger.refund_order(order_id, amount, actor=STAFF, cause=cause).refund


def types(store: Store) -> list[str]:
    return [event.type for event in store.ledger.history(1)[1:]]


def summary(store: Store) -> PaymentSummary:
    found = store.payments.summary(1, STAFF)
    assert found is not None
    return found


def owing(store: Store) -> list[int]:
    return [standing.order_id for page in StandingReads(LiveViews(store.database, VIEWS)).owing() for standing in page]


def test_a_success_is_recorded_and_moves_the_order_once(store: Store) -> None:
    place(store)
    with pytest.raises(PaymentNotConfirmed):
        move(store, Status.ORDER_PAID)
    notice = store.gateway.settle(1)
    assert tell(store, notice) == Outcome(1, 3, Status.ORDER_PAID)
    assert tell(store, notice) == Outcome(1, 3, Status.ORDER_PAID, replayed=True)
    assert tell(store, notice, "evt_2") == Outcome(1, 3, Status.ORDER_PAID, replayed=True)
    told, moved = (json.loads(event.body) for event in store.ledger.history(1)[1:])
    assert (told["actor"], moved["actor"]) == ({"user": None, "role": "payments"},) * 2
    assert told["cause"] == {"stripe_event_id": "evt_1", "part_of_version": 3}
    assert moved["cause"] == {"stripe_event_id": "evt_1"}
    assert summary(store) == PaymentSummary(1, "order_paid", "received", AMOUNT, 0, 0, 0, 0, 0)
    assert move(store, Status.COMPLETED).version == 4
    store.assert_sound()


def test_what_is_read_has_the_version_of_the_last_event(store: Store) -> None:
    """Also when that is a payment's, so that If-Match and ETag speak of the same."""
    place(store)
    pay(store)
    refund(store, 1)
    document = store.orders.detail(1, CUSTOMER)
    assert document is not None
    assert (document.version, json.loads(document.body)["status"]) == (4, "order_paid")
    store.ledger.change_status(1, Status.SHIPPED, actor=STAFF, cause=Cause(), expected_version=4)


def test_the_owner_may_be_faster_than_the_webhook(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)
    assert move(store, Status.ORDER_PAID, cause=KEYED) == Outcome(1, 3, Status.ORDER_PAID)
    assert tell(store, notice) == Outcome(1, 3, Status.ORDER_PAID, replayed=True)
    assert types(store) == ["PaymentRecorded", "StatusChanged"]
    assert move(store, Status.ORDER_PAID, cause=KEYED) == Outcome(1, 3, Status.ORDER_PAID, replayed=True)
    store.assert_sound()


def test_the_owner_and_the_webhook_at_the_same_moment(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)
    with ThreadPoolExecutor(8) as pool:
        told = [pool.submit(tell, store, notice, f"evt_{number % 2}") for number in range(4)]
        asked = [pool.submit(move, store, Status.ORDER_PAID) for _ in range(4)]
        versions = {future.result().version for future in [*told, *asked]}  # type: ignore[union-attr]
    assert versions == {3}
    assert types(store) == ["PaymentRecorded", "StatusChanged"]
    store.assert_sound()


def test_a_failed_payment_can_be_tried_again_but_never_undoes_one(store: Store) -> None:
    place(store)
    failed = store.gateway.settle(1, fail=True)
    assert tell(store, failed, "evt_1") == Outcome(1, 3, Status.PAYMENT_FAILED)
    pay(store)
    late = replace(failed, occurred_at="2030-01-01T00:00:00.000000Z")
    assert tell(store, late, "evt_late") == Outcome(1, 5, Status.ORDER_PAID, replayed=True)
    assert store.gateway.settle(1, fail=True).kind is PaymentKind.RECEIVED
    assert summary(store).phase == "received"


def test_a_notice_of_nobodys_payment_is_let_be(store: Store) -> None:
    place(store)
    foreign = PaymentNotice(PaymentKind.RECEIVED, "pi_foreign", 100, "usd", "2026-01-01T00:00:00.000000Z")
    assert tell(store, foreign) is None
    told = tell(store, replace(foreign, kind=PaymentKind.FAILED, order_id=1))
    assert told == Outcome(1, 1, Status.PENDING, replayed=True)
    with pytest.raises(UnknownOrder):
        store.gateway.settle(2)
    with pytest.raises(UnknownOrder):
        store.gateway.refund_all(2)
    with pytest.raises(UnknownPayment):
        store.gateway.retrieve_intent("pi_foreign")
    assert types(store) == []


def test_money_for_an_order_that_is_not_there_is_not_taken_note_of(store: Store) -> None:
    """The sender has to send it again; of what tells of no money, nobody would miss a thing."""
    early = PaymentNotice(PaymentKind.RECEIVED, "pi_1", 100, "usd", "2026-01-01T00:00:00.000000Z", order_id=1)
    with pytest.raises(OrderNotThereYet):
        tell(store, early)
    assert tell(store, replace(early, kind=PaymentKind.CANCELED)) is None
    place(store)
    assert tell(store, early) == Outcome(1, 2, Status.PENDING)  # of another intent than the order's, as it turns out
    assert summary(store).anomalies == 1


def test_what_does_not_fit_is_an_anomaly_and_moves_nothing(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)
    tell(store, replace(notice, amount=AMOUNT - 1), "evt_1")
    tell(store, replace(notice, currency="eur"), "evt_2")
    assert summary(store) == PaymentSummary(1, "pending", "", AMOUNT - 1, 0, 0, 0, 0, 2)
    assert [json.loads(event.body)["anomaly"] for event in store.ledger.history(1)[1:]] == [
        "received 3997 usd for an order of 3998 usd",
        "received 3998 eur for an order of 3998 usd",
    ]
    assert tell(store, notice, "evt_3") == Outcome(1, 5, Status.ORDER_PAID)
    store.assert_sound()


def test_a_late_success_is_never_dropped(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)  # at the gateway, which then is not asked
    store.ledger.change_status(1, Status.DECLINED, actor=STAFF, cause=Cause())
    assert tell(store, notice) == Outcome(1, 3, Status.DECLINED)
    assert summary(store).needs_refund
    assert owing(store) == [1]
    refund(store)
    assert not summary(store).needs_refund
    assert owing(store) == []
    store.assert_sound()


@pytest.mark.parametrize("status", [Status.DECLINED, Status.ORDER_PAID, Status.COMPLETED])
def test_an_order_that_staff_move_on_can_not_be_paid_any_more(store: Store, status: Status) -> None:
    place(store)
    intent_id = json.loads(store.ledger.history(1)[0].body)["payment_intent_id"]
    assert move(store, status, STAFF) == Outcome(1, 2, status)
    assert store.gateway.retrieve_intent(intent_id).status == "canceled"
    notice = PaymentNotice(PaymentKind.CANCELED, intent_id, AMOUNT, "usd", "2026-01-01T00:00:00.000000Z")
    assert tell(store, notice) == Outcome(1, 3, status)
    store.assert_sound()


def test_what_a_lost_dispute_took_needs_no_refund(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)
    store.ledger.change_status(1, Status.DECLINED, actor=STAFF, cause=Cause())
    tell(store, notice, "evt_1")
    dispute = replace(notice, kind=PaymentKind.DISPUTE, reference="dp_1", amount=AMOUNT - 100, detail="needs_response")
    tell(store, dispute, "evt_2")
    assert owing(store) == [1]
    tell(store, replace(dispute, detail="lost"), "evt_3")
    with pytest.raises(UnknownPayment):
        store.gateway.retrieve_intent("pi_3of_another_gateway")
    assert (summary(store).lost, summary(store).needs_refund) == (AMOUNT - 100, True)
    assert refund(store, 100).amount == 100
    assert not summary(store).needs_refund
    assert owing(store) == []


def test_an_order_whose_money_a_dispute_took_can_be_cancelled(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)
    tell(store, notice, "evt_1")
    dispute = replace(notice, kind=PaymentKind.DISPUTE, reference="dp_1", detail="needs_response")
    tell(store, dispute, "evt_2")
    with pytest.raises(RefundRequired):
        move(store, Status.CANCELLED, STAFF)
    tell(store, replace(dispute, detail="lost"), "evt_3")
    assert move(store, Status.CANCELLED, STAFF).status is Status.CANCELLED
    assert not summary(store).needs_refund


def test_the_key_of_a_refund_stands_for_it_whatever_comes_with_it(store: Store) -> None:
    place(store)
    pay(store)
    intent_id = json.loads(store.ledger.history(1)[0].body)["payment_intent_id"]
    # As when the first request's commit was lost: the gateway has the refund, and the log does not.
    digest = key_digest(STAFF, Cause(idempotency_key="k", request_hash="a"))
    made = store.gateway.refund(intent_id, 500, f"refund-{digest}")
    with pytest.raises(IdempotencyKeyReused):
        refund(store, 600, cause=Cause(idempotency_key="k", request_hash="b"))
    again = refund(store, 500, cause=Cause(idempotency_key="k", request_hash="a"))
    assert again.id == made.id
    assert summary(store).refunded == 500


def test_a_partial_refund_leaves_the_owner_an_order_that_was_paid(store: Store) -> None:
    place(store)
    pay(store)
    refund(store, 1)
    assert move(store, Status.COMPLETED).status is Status.COMPLETED


def test_the_gateway_is_asked_to_close_only_what_may_be_open(store: Store) -> None:
    asked: list[str] = []

    class Counting(SandboxGateway):
        def cancel_intent(self, intent_id: str) -> Intent:
            asked.append(intent_id)
            return super().cancel_intent(intent_id)

    store.ledger = store.with_gateway(Counting(store.database))
    for _ in range(3):
        place(store)
    move(store, Status.CANCELLED)
    assert len(asked) == 1
    store.gateway.settle(2)
    store.ledger.change_status(2, Status.ORDER_PAID, actor=CUSTOMER, cause=Cause())
    store.ledger.change_status(2, Status.SHIPPED, actor=STAFF, cause=Cause())
    assert len(asked) == 1
    store.ledger.change_status(3, Status.ORDER_PAID, actor=STAFF, cause=Cause())
    store.ledger.change_status(3, Status.SHIPPED, actor=STAFF, cause=Cause())
    assert len(asked) == 2


@pytest.mark.parametrize("error", [PaymentsUnavailable, UnknownPayment, StorageUnavailable])
def test_a_move_that_is_made_is_answered_though_the_payment_could_not_be_closed(
    store: Store, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    class Out(SandboxGateway):
        def cancel_intent(self, intent_id: str) -> Intent:
            raise error(intent_id)

    store.ledger = store.with_gateway(Out(store.database))
    place(store)
    assert move(store, Status.DECLINED, STAFF) == Outcome(1, 2, Status.DECLINED)
    assert "order 1 is declined, and its payment could not be cancelled" in caplog.text
    store.assert_sound()


def test_a_bank_payment_that_can_not_be_stopped_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Processing(SandboxGateway):
        def cancel_intent(self, intent_id: str) -> Intent:
            return replace(self.retrieve_intent(intent_id), status="processing")

    store.ledger = store.with_gateway(Processing(store.database))
    place(store)
    assert move(store, Status.ORDER_PAID, STAFF).status is Status.ORDER_PAID
    assert "its status is processing" in caplog.text


def test_a_dispute_in_another_currency_is_counted_and_its_amount_is_not(store: Store) -> None:
    place(store)
    notice = store.gateway.settle(1)
    tell(store, notice, "evt_1")
    dispute = replace(notice, kind=PaymentKind.DISPUTE, reference="dp_1", currency="eur", detail="lost")
    tell(store, dispute, "evt_2")
    assert summary(store) == PaymentSummary(1, "order_paid", "received", AMOUNT, 0, 0, 1, 0, 1)


def test_cancelling_an_unpaid_order_cancels_its_intent(store: Store) -> None:
    place(store)
    assert move(store, Status.CANCELLED) == Outcome(1, 2, Status.CANCELLED)
    with pytest.raises(PaymentNotConfirmed):
        store.gateway.settle(1)
    intent = store.gateway.retrieve_intent(json.loads(store.ledger.history(1)[0].body)["payment_intent_id"])
    assert intent.status == "canceled"
    notice = PaymentNotice(PaymentKind.CANCELED, intent.id, AMOUNT, "usd", "2026-01-01T00:00:00.000000Z")
    assert tell(store, notice) == Outcome(1, 3, Status.CANCELLED)
    assert not summary(store).needs_refund


def test_an_intent_that_the_gateway_cancelled_cancels_the_order(store: Store) -> None:
    place(store)
    notice = replace(store.gateway.settle(1, fail=True), kind=PaymentKind.CANCELED)
    assert tell(store, notice) == Outcome(1, 3, Status.CANCELLED)
    assert move(store, Status.CANCELLED) == Outcome(1, 3, Status.CANCELLED)


def test_cancelling_against_paying_ends_one_way_or_the_other(store: Store) -> None:
    for order_id in range(1, 11):
        place(store)

        def cancel(order_id: int = order_id) -> bool:
            try:
                store.ledger.change_status(order_id, Status.CANCELLED, actor=CUSTOMER, cause=Cause())
            except LedgerError:
                return False
            return True

        def settle(order_id: int = order_id) -> bool:
            try:
                pay(store, order_id)
            except PaymentNotConfirmed:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            cancelled, paid = pool.submit(cancel), pool.submit(settle)
            assert cancelled.result() != paid.result()
        status = json.loads(store.ledger.history(order_id)[-1].body)["status"]
        assert status == ("cancelled" if cancelled.result() else "order_paid")
    assert owing(store) == []
    store.assert_sound()


def test_a_paid_order_is_cancelled_after_its_refund(store: Store) -> None:
    place(store)
    pay(store)
    refund(store, 1000)
    with pytest.raises(RefundRequired):
        move(store, Status.CANCELLED, ADMIN)
    assert refund(store, cause=Cause()).amount == AMOUNT - 1000
    assert summary(store) == PaymentSummary(1, "order_paid", "received", AMOUNT, AMOUNT, 0, 0, 0, 0)
    assert move(store, Status.CANCELLED, ADMIN).status is Status.CANCELLED
    assert not summary(store).needs_refund
    store.assert_sound()


def test_a_refund_is_made_once_and_answered_again(store: Store) -> None:
    place(store)
    pay(store)
    first = store.ledger.refund_order(1, 500, actor=STAFF, cause=KEYED)
    refund(store, 700, Cause())
    again = store.ledger.refund_order(1, 500, actor=STAFF, cause=KEYED)
    assert again == replace(first, replayed=True)
    assert (first.version, first.refund.amount, first.refund.status) == (4, 500, "succeeded")
    assert summary(store).refunded == 1200
    store.assert_sound()


def test_concurrent_repeats_of_a_refund_make_one(store: Store) -> None:
    place(store)
    pay(store)
    with ThreadPoolExecutor(8) as pool:
        refunds = set(pool.map(lambda _: refund(store, 500), range(16)))
    assert len(refunds) == 1
    assert types(store).count("PaymentRecorded") == 2
    assert summary(store).refunded == 500
    store.assert_sound()


class Together(SandboxGateway):
    """Refunds once two are about to ask for it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._both, self._asked = Barrier(2, timeout=30), count()

    def refund(self, intent_id: str, amount_in_cents: int | None, idempotency_key: str) -> Refund:
        if next(self._asked) < 2:
            self._both.wait()
        return super().refund(intent_id, amount_in_cents, idempotency_key)


def test_two_who_refund_at_once_from_the_same_version_refund_once(store: Store) -> None:
    place(store)
    pay(store)
    ledger = store.with_gateway(Together(store.database))

    def by(actor: Actor) -> Refund:
        cause = Cause(idempotency_key=f"from {actor.user}", request_hash="h")
        return ledger.refund_order(1, 500, actor=actor, cause=cause, expected_version=3).refund

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(by, (STAFF, ADMIN))
    assert one == other
    assert summary(store).refunded == 500
    assert made_at_gateway(store) == [500]
    store.assert_sound()


def test_a_refund_that_is_still_under_way_is_the_next_one_also_at_another_version(store: Store) -> None:
    place(store)
    pay(store)
    under_way: list[tuple[str, int | None, str]] = []

    class Hanging(SandboxGateway):
        """Gives no answer to the first that asks, and does what it asked for later."""

        def refund(self, intent_id: str, amount_in_cents: int | None, idempotency_key: str) -> Refund:
            if not under_way:
                under_way.append((intent_id, amount_in_cents, idempotency_key))
                raise PaymentsUnavailable("no answer")
            return super().refund(intent_id, amount_in_cents, idempotency_key)

    ledger = store.with_gateway(Hanging(store.database))
    with pytest.raises(PaymentsUnavailable):
        ledger.refund_order(1, 500, actor=STAFF, cause=KEYED, expected_version=3)
    move(store, Status.SHIPPED, ADMIN)
    with pytest.raises(VersionMismatch):
        ledger.refund_order(1, 500, actor=STAFF, cause=KEYED, expected_version=3)
    made = ledger.refund_order(1, 500, actor=STAFF, cause=replace(KEYED, idempotency_key="4"), expected_version=4)
    assert store.gateway.refund(*under_way[0]) == made.refund
    assert made_at_gateway(store) == [summary(store).refunded] == [500]
    store.assert_sound()


def test_a_part_and_all_that_is_left_at_once_are_two_requests(store: Store) -> None:
    place(store)
    pay(store)
    ledger = store.with_gateway(Together(store.database))

    def by(actor: Actor, amount: int | None) -> int | None:
        cause = Cause(idempotency_key=f"from {actor.user}", request_hash="h")
        try:
            return ledger.refund_order(1, amount, actor=actor, cause=cause, expected_version=3).refund.amount
        except IdempotencyKeyReused:
            return None

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(by, (STAFF, ADMIN), (500, None)))
    assert answers in ([500, None], [None, AMOUNT])
    assert [summary(store).refunded] == made_at_gateway(store) == [amount for amount in answers if amount]
    store.assert_sound()


def test_what_a_refund_s_key_stands_for_at_the_gateway(store: Store) -> None:
    """As after an outcome that was lost: there is no receipt."""
    for order in (1, 2):
        place(store)
        pay(store, order)
    one, other = (json.loads(store.ledger.history(order)[0].body)["payment_intent_id"] for order in (1, 2))
    part = store.gateway.refund(one, 500, "part")
    rest = store.gateway.refund(one, None, "rest")
    assert store.gateway.refund(one, 500, "part") == part
    assert store.gateway.refund(one, None, "rest") == rest
    again = store.gateway.refund(other, 700, "again")
    wrong = ((other, 500, "part"), (other, None, "rest"), (other, None, "again"), (one, 700, "rest"))
    for intent, amount, key in wrong:
        with pytest.raises(IdempotencyKeyReused):
            store.gateway.refund(intent, amount, key)
    assert store.gateway.refund(other, 700, "again") == again


def made_at_gateway(store: Store) -> list[int]:
    """The amounts of the refunds of order 1 that the gateway has made."""
    intent = json.loads(store.ledger.history(1)[0].body)["payment_intent_id"]
    return [each.amount for each in store.gateway.list_refunds(intent)]


def test_a_refund_of_which_the_ledger_was_not_told_makes_another_version(store: Store) -> None:
    place(store)
    pay(store)
    intent = json.loads(store.ledger.history(1)[0].body)["payment_intent_id"]
    store.gateway.refund(intent, 500, "of a process that died")
    for actor in (STAFF, STAFF, ADMIN):
        with pytest.raises(VersionMismatch, match="at version 4"):
            store.ledger.refund_order(1, 500, actor=actor, cause=KEYED, expected_version=3)
    assert (summary(store).refunded, made_at_gateway(store)) == (500, [500])
    assert store.ledger.refund_order(1, 700, actor=STAFF, cause=KEYED, expected_version=4).version == 5
    assert (summary(store).refunded, made_at_gateway(store)) == (1200, [500, 700])
    store.assert_sound()


def test_the_same_move_twice_at_once_is_made_once_and_answered_twice(store: Store) -> None:
    """Also when the second one reads the order after the first has moved it, and had looked for its key before."""
    place(store)
    cause = Cause(idempotency_key="k", request_hash="h")
    first = store.ledger.change_status(1, Status.AWAITING_PAYMENT, actor=STAFF, cause=cause, expected_version=1)
    found = [None]

    class Late:
        def find(self, source: str, key: str) -> Receipt | None:
            return found.pop() if found else store.receipts.find(source, key)

    ledger = OrderLedger(replace(store.ports, receipts=Late()))
    again = ledger.change_status(1, Status.AWAITING_PAYMENT, actor=STAFF, cause=cause, expected_version=1)
    assert again == Outcome(1, first.version, Status.AWAITING_PAYMENT, replayed=True)


def test_a_refund_whose_webhook_was_faster_still_has_its_answer(store: Store) -> None:
    place(store)
    pay(store)
    made = store.gateway.refund

    def told_at_once(intent_id: str, amount: int | None, key: str) -> Refund:
        refunded = made(intent_id, amount, key)
        tell(store, refunded.notice("2026-01-01T00:00:00.000000Z"), "evt_refund")
        return refunded

    store.gateway.refund = told_at_once  # type: ignore[method-assign]
    first = store.ledger.refund_order(1, 500, actor=STAFF, cause=KEYED)
    assert store.ledger.refund_order(1, 500, actor=STAFF, cause=KEYED) == replace(first, replayed=True)
    assert types(store) == ["PaymentRecorded", "StatusChanged", "PaymentRecorded", "PaymentRecorded"]
    assert summary(store).refunded == 500
    store.assert_sound()


def test_a_refund_key_is_for_one_request(store: Store) -> None:
    place(store)
    place(store)
    pay(store)
    pay(store, 2)
    refund(store, 500)
    with pytest.raises(IdempotencyKeyReused):
        refund(store, 500, replace(KEYED, request_hash="other"))
    with pytest.raises(IdempotencyKeyReused):
        refund(store, 500, order_id=2)
    with pytest.raises(IdempotencyKeyReused):
        move(store, Status.SHIPPED, STAFF, replace(KEYED, request_hash="another"))


def test_refunds_are_for_staff_and_no_more_than_there_is(store: Store) -> None:
    place(store)
    with pytest.raises(RefundRefused):
        refund(store)
    pay(store)
    for actor, refusal in ((CUSTOMER, Forbidden), (AUDITOR, Forbidden), (OTHER, UnknownOrder)):
        with pytest.raises(refusal):
            store.ledger.refund_order(1, 1, actor=actor, cause=Cause())
    for amount, refusal in ((0, InvalidAmount), (-1, InvalidAmount), (AMOUNT + 1, RefundRefused)):
        with pytest.raises(refusal):
            refund(store, amount)
    with pytest.raises(UnknownOrder):
        refund(store, order_id=2)
    assert summary(store).refunded == 0
    assert refund(store, AMOUNT).amount == AMOUNT


def test_who_may_see_the_order_sees_its_payment(store: Store) -> None:
    place(store)
    assert store.payments.summary(1, CUSTOMER) == PaymentSummary(1, "pending", "", 0, 0, 0, 0, 0, 0)
    pay(store)
    assert store.payments.summary(1, CUSTOMER) == store.payments.summary(1, AUDITOR) == summary(store)
    assert store.payments.summary(1, OTHER) is None
    assert store.payments.summary(2, STAFF) is None


def test_a_payment_that_is_no_orders_records_nothing(store: Store) -> None:
    intent = store.ledger.open_payment(1000, actor=CUSTOMER, cause=Cause())
    assert (intent.amount, intent.currency, intent.order_id, intent.open) == (1000, "usd", None, True)
    for amount in (0, -5, 100_000_000):
        with pytest.raises(InvalidAmount):
            store.ledger.open_payment(amount, actor=CUSTOMER, cause=Cause())
    assert store.recorder.max_notification_id() is None


def test_a_reservation_lasts_and_is_the_same_for_all_who_ask(store: Store) -> None:
    reservations = Reservations(store.database)
    with ThreadPoolExecutor(8) as pool:
        held = set(pool.map(lambda _: reservations.held("digest"), range(24)))
    assert len(held) == 1
    again = Reservations(store.database).held("digest")
    assert held == {again}
    assert again.gateway_key.startswith(f"order-{again.order_id}-")
    other, keyless = reservations.held("other"), reservations.held(None)
    assert len({again.order_id, other.order_id, keyless.order_id, reservations.held(None).order_id}) == 4
    assert len({again.gateway_key, other.gateway_key, keyless.gateway_key}) == 3


def test_a_request_whose_attempt_was_lost_finds_its_id_and_key_again(store: Store) -> None:
    asked: list[tuple[int | None, int, str, str]] = []
    make = store.gateway.create_intent

    def lost(order_id: int | None, amount: int, currency: str, key: str) -> None:
        asked.append((order_id, amount, currency, key))
        raise TimeoutError

    store.ledger._ports = replace(store.ledger._ports, reserve_order=Reservations(store.database).held)
    store.gateway.create_intent = lost  # type: ignore[method-assign, assignment]
    for _ in range(2):
        with pytest.raises(TimeoutError):
            store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=KEYED)
    assert asked[0] == asked[1]
    store.gateway.create_intent = make  # type: ignore[method-assign]
    place(store)
    placed = store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=KEYED)
    assert placed.order_id == asked[0][0]
    assert store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=KEYED).replayed
    store.assert_sound()


@settings(max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(data=st.data())
def _however_it_is_told(store: Store, told: Iterator[int], data: st.DataObject) -> None:
    order_id = place(store)
    intent_id = json.loads(store.ledger.history(order_id)[0].body)["payment_intent_id"]
    life = data.draw(lives(intent_id, AMOUNT))
    events = {notice: f"evt_{next(told)}" for notice in life.notices}
    before = store.recorder.max_notification_id()
    for notice in data.draw(deliveries(life.notices)):
        outcome = tell(store, notice, events[notice])
        assert outcome is not None
        assert outcome.order_id == order_id
    assert (store.recorder.max_notification_id() or 0) - (before or 0) == len(store.ledger.history(order_id)) - 1
    found = store.payments.summary(order_id, CUSTOMER)
    assert found is not None
    assert found == PaymentSummary(
        order_id,
        order_status=life.status.value,
        phase=life.totals["phase"] or "",
        received=life.totals["received_in_cents"],
        refunded=life.totals["refunded_in_cents"],
        open_disputes=life.totals["open_disputes"],
        lost_disputes=life.totals["lost_disputes"],
        lost=life.totals["lost_in_cents"],
        anomalies=0,
    )
    document = store.orders.detail(order_id, CUSTOMER)
    assert document is not None
    assert document.version == len(store.ledger.history(order_id))
    assert json.loads(document.body)["status"] == life.status
    store.assert_sound()


def test_a_payment_comes_to_the_same_however_it_is_told(store: Store) -> None:
    _however_it_is_told(store, count(1))
