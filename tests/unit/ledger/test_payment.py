"""What is known of a payment, and what an order makes of it: whatever the order in which its notices come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from ledger.events import Event, PaymentRecorded
from ledger.order import Order
from ledger.payments.gateway import PaymentKind, PaymentNotice, Refund
from ledger.payments.payment import Payment
from ledger.statuses import UNPAID, Status
from tests.support.lives import Life, deliveries, lives
from tests.support.scenario import OWNER, PAYMENTS, changed, created, notice, order_in, recorded, tell, when

K = PaymentKind
PAID = recorded(notice(K.RECEIVED), part_of=3, phase="received", received_in_cents=1999)
PAID_ORDER = [created(), PAID, changed(Status.PENDING, Status.ORDER_PAID, version=3)]
SETTLED = {"phase": "received", "received_in_cents": 1999}


def after(*notices: PaymentNotice, given: Sequence[Event] = ()) -> Order:
    """The order that was told all of these."""
    order = Order.project(None, given or [created()])
    assert order is not None
    for told in notices:
        tell(told)(order)
    return order


# --- phases

STEPS = {
    K.REQUIRES_ACTION: Status.AWAITING_PAYMENT,
    K.PROCESSING: Status.AWAITING_PAYMENT,
    K.AUTHORIZED: Status.AWAITING_PAYMENT,
    K.FAILED: Status.PAYMENT_FAILED,
    K.CANCELED: Status.CANCELLED,
    K.RECEIVED: Status.ORDER_PAID,
}


@pytest.mark.parametrize("source", list(Status))
@pytest.mark.parametrize("kind", STEPS)
def test_a_phase_moves_an_unpaid_order_and_no_other(kind: PaymentKind, source: Status) -> None:
    given = order_in(source)
    version, target = len(given) + 1, STEPS[kind]
    totals = {"phase": kind.value, "received_in_cents": 1999 if kind is K.RECEIVED else 0}
    moves = source in UNPAID and source is not target
    told = recorded(notice(kind), version=version, status=source, part_of=version + 1 if moves else None, **totals)
    expected: list[Event] = [told]
    if moves:
        expected.append(changed(source, target, version=version + 1, actor=PAYMENTS))
    assert when(given, tell(notice(kind))) == expected


@pytest.mark.parametrize("kind", STEPS)
def test_what_is_known_is_not_recorded_again(kind: PaymentKind) -> None:
    order = after(notice(kind))
    order.collect_events()
    tell(notice(kind))(order)
    assert order.collect_events() == []


def test_when_a_payment_ended_makes_no_difference() -> None:
    assert when(PAID_ORDER, tell(notice(K.RECEIVED, at=90))) == []


@pytest.mark.parametrize("kind", [K.REQUIRES_ACTION, K.PROCESSING, K.AUTHORIZED, K.FAILED, K.CANCELED])
@pytest.mark.parametrize("at", [0, 90])
def test_nothing_downgrades_a_paid_order(kind: PaymentKind, at: int) -> None:
    assert when(PAID_ORDER, tell(notice(kind, at=at))) == []


def test_an_earlier_phase_that_comes_late_moves_nothing() -> None:
    order = after(notice(K.PROCESSING, at=5), notice(K.FAILED, at=3))
    assert (order.status, order.payment.phase, order.version) == (Status.AWAITING_PAYMENT, K.PROCESSING, 3)


def test_of_one_second_the_phase_that_comes_after_the_other_counts() -> None:
    assert after(notice(K.FAILED), notice(K.PROCESSING)).status is Status.PAYMENT_FAILED
    assert after(notice(K.PROCESSING), notice(K.FAILED)).status is Status.PAYMENT_FAILED


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.DECLINED])
def test_a_late_success_is_recorded_and_nothing_moved(status: Status) -> None:
    (told,) = when(order_in(status), tell(notice(K.RECEIVED)))
    assert told == recorded(notice(K.RECEIVED), version=3, status=status, **SETTLED)


# --- what does not fit


@pytest.mark.parametrize(
    ("told", "totals", "anomaly"),
    [
        (notice(K.RECEIVED, 1998), {"received_in_cents": 1998}, "received 1998 usd for an order of 1999 usd"),
        (notice(K.RECEIVED, 2000), {"received_in_cents": 2000}, "received 2000 usd for an order of 1999 usd"),
        (notice(K.RECEIVED, currency="eur"), {}, "received 1999 eur for an order of 1999 usd"),
        (notice(K.RECEIVED, intent_id="pi_2"), {}, "received by another payment intent"),
        (notice(K.PROCESSING, 1), {}, "processing 1 usd for an order of 1999 usd"),
        (notice(K.CANCELED, 1), {}, "canceled 1 usd for an order of 1999 usd"),
        (notice(K.REFUNDED, 2000), {"refunded_in_cents": 2000}, "refunded 2000 usd for an order of 1999 usd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_an_anomaly(told: PaymentNotice, totals: dict[str, Any], anomaly: str) -> None:
    """It is recorded, its money counts where it is the order's, and nothing moves."""
    assert when([created()], tell(told)) == [recorded(told, anomaly=anomaly, anomalies=1, **totals)]


def test_an_anomaly_is_counted_once() -> None:
    short = notice(K.RECEIVED, 1998)
    order = after(short, replace(short, occurred_at=notice(K.RECEIVED, at=9).occurred_at), notice(K.RECEIVED, 1997))
    assert (len(order.payment.anomalies), order.payment.received, order.version) == (2, 1998, 3)


def test_an_anomaly_is_no_phase() -> None:
    order = after(notice(K.RECEIVED, 1998, at=9), notice(K.FAILED, at=3))
    assert (order.status, order.payment.phase) == (Status.PAYMENT_FAILED, K.FAILED)
    tell(notice(K.RECEIVED, at=20))(order)
    assert (order.status, order.payment.received) == (Status.ORDER_PAID, 1999)


@pytest.mark.parametrize("kind", [kind for kind in K if kind is not K.RECEIVED])
def test_of_another_intent_only_money_is_the_orders_business(kind: PaymentKind) -> None:
    assert when([created()], tell(notice(kind, intent_id="pi_2", reference="x", detail="failed"))) == []


# --- refunds and disputes


def refund(amount: int, status: str = "succeeded", id: str = "re_1") -> PaymentNotice:
    return notice(K.REFUND, amount, reference=id, detail=status)


def dispute(status: str, id: str = "dp_1") -> PaymentNotice:
    return notice(K.DISPUTE, 1999, reference=id, detail=status)


@pytest.mark.parametrize("told", [refund(1999), notice(K.REFUNDED), dispute("needs_response"), dispute("lost")])
@pytest.mark.parametrize("given", [PAID_ORDER, [created()], order_in(Status.SHIPPED)], ids=["paid", "new", "shipped"])
def test_refunds_and_disputes_move_no_status(told: PaymentNotice, given: list[Event]) -> None:
    (event,) = when(given, tell(told))
    assert isinstance(event, PaymentRecorded)


@pytest.mark.parametrize(
    ("told", "refunded"),
    [
        ([refund(500)], 500),
        ([refund(500), notice(K.REFUNDED, 500)], 500),
        ([notice(K.REFUNDED, 500)], 500),
        ([notice(K.REFUNDED, 500), notice(K.REFUNDED, 800)], 800),
        ([refund(500), refund(300, id="re_2")], 800),
        ([refund(500, "pending"), notice(K.REFUNDED, 800)], 800),
        ([refund(500, "pending"), refund(500, "failed")], 0),
        ([refund(500), refund(500, "canceled"), refund(300, id="re_2"), notice(K.REFUNDED, 800)], 300),
        ([refund(500), notice(K.REFUNDED, 500), refund(500, "failed"), notice(K.REFUNDED, 0)], 0),
        ([refund(500, "requires_action"), refund(500, "pending")], 500),
    ],
)
def test_what_went_back_is_known_from_either_side(told: list[PaymentNotice], refunded: int) -> None:
    assert after(*told, given=PAID_ORDER).payment.refunded == refunded
    backwards = after(*reversed(told), given=PAID_ORDER).payment
    assert backwards == after(*told, given=PAID_ORDER).payment


@pytest.mark.parametrize(
    ("statuses", "open_lost"),
    [
        (["needs_response"], (1, 0)),
        (["warning_needs_response", "under_review"], (1, 0)),
        (["needs_response", "lost"], (0, 1)),
        (["lost", "needs_response"], (0, 1)),
        (["lost", "won"], (0, 0)),
        (["won", "lost"], (0, 0)),
        (["warning_closed"], (0, 0)),
        (["prevented"], (0, 0)),
    ],
)
def test_a_dispute_is_open_until_it_is_decided(statuses: list[str], open_lost: tuple[int, int]) -> None:
    payment = after(*map(dispute, statuses), given=PAID_ORDER).payment
    assert (payment.open_disputes, payment.lost_disputes) == open_lost


def test_disputes_are_counted_one_by_one() -> None:
    payment = after(dispute("lost"), dispute("lost", "dp_2"), dispute("under_review", "dp_3")).payment
    assert (payment.open_disputes, payment.lost_disputes) == (1, 2)


def test_a_command_that_has_to_find_its_outcome_again_is_always_recorded() -> None:
    given = [*PAID_ORDER, recorded(refund(500), version=4, records=2, refunded_in_cents=500, **SETTLED)]
    expected = recorded(refund(500), version=5, status=Status.ORDER_PAID, records=3, refunded_in_cents=500, **SETTLED)
    assert when(given, tell(refund(500))) == []
    assert when(given, tell(refund(500), always=True)) == [expected]


def test_a_refund_tells_what_its_notice_would() -> None:
    assert Refund("re_1", "pi_1", 500, "usd", "succeeded").notice(refund(500).occurred_at) == refund(500)


@pytest.mark.parametrize("missing", [{"reference": None}, {"detail": None}, {"reference": ""}])
@pytest.mark.parametrize("told", [refund(500), dispute("lost")])
def test_a_refund_without_its_id_can_not_be_told(told: PaymentNotice, missing: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs the id and the status"):
        replace(told, **missing)


# --- lives


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given_any(data=st.data())
def test_a_payment_comes_to_the_same_however_it_is_told(data: st.DataObject) -> None:
    life = data.draw(lives("pi_1", 1999))
    in_order = after(*life.notices)
    assert comes_to(in_order) == expected_of(life)
    order = after(*data.draw(deliveries(life.notices)))
    assert order.payment == in_order.payment
    assert comes_to(order) == expected_of(life)
    replayed = Order.project(None, [created(), *order.collect_events()])
    assert replayed is not None
    assert replace(order, _pending=[]) == replayed


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given_any(data=st.data())
def test_what_does_not_fit_does_not_depend_on_the_order_either(data: st.DataObject) -> None:
    life = data.draw(lives("pi_1", 1999))
    odd = st.builds(
        notice,
        st.sampled_from([K.RECEIVED, K.PROCESSING, K.CANCELED, K.FAILED]),
        st.sampled_from([1, 1998, 2000]),
        at=st.integers(0, 100),
        currency=st.sampled_from(["usd", "eur"]),
        intent_id=st.sampled_from(["pi_1", "pi_2"]),
    )
    notices = [*life.notices, *data.draw(st.lists(odd, max_size=3))]
    one, other = after(*notices), after(*data.draw(deliveries(notices)))
    assert (one.payment, one.status) == (other.payment, other.status)
    assert one.status is life.status


def comes_to(order: Order) -> dict[str, Any]:
    return {**order.payment.totals(0), "status": order.status}


def expected_of(life: Life) -> dict[str, Any]:
    return {**life.totals, "records": 0, "anomalies": 0, "status": life.status}


def test_nothing_is_known_at_first() -> None:
    assert Order.started(created()).payment == Payment()
    assert OWNER.user == created().user_id
