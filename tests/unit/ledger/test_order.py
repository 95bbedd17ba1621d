"""Which moves an order allows, to whom, and what they record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.actor import Actor, Cause, Role
from ledger.cart import CartItem, price_cart
from ledger.catalogue import Catalogue
from ledger.errors import (
    MoveNotAllowed,
    MoveNotInTable,
    PaymentInProgress,
    PaymentNotConfirmed,
    RefundRequired,
    UnknownOrder,
)
from ledger.events import LeadStatusesArranged
from ledger.order import Order, place_order
from ledger.payments.gateway import Intent, PaymentKind
from ledger.statuses import TRANSITIONS, Status
from tests.support.scenario import (
    INTENT,
    NOW,
    OWNER,
    PAID,
    PAYMENTS,
    REFUNDED,
    REQUEST,
    OneIntent,
    changed,
    created,
    move,
    notice,
    order_in,
    recorded,
    when,
)

STAFF, ADMIN = Actor(90, Role.STAFF), Actor(91, Role.ADMIN)
STRANGER, AUDITOR = Actor(2, Role.CUSTOMER), Actor(92, Role.AUDITOR)

# The table of the specification, written out a second time on purpose.
TABLE = {
    "pending": "awaiting_payment payment_failed order_paid completed cancelled declined",
    "awaiting_payment": "payment_failed order_paid completed cancelled declined",
    "payment_failed": "awaiting_payment order_paid completed cancelled declined",
    "order_paid": "shipped completed cancelled",
    "shipped": "completed",
    "completed": "",
    "cancelled": "",
    "declined": "",
}


def test_a_new_order_says_everything() -> None:
    assert created().lines == [
        {"product_id": 1, "name": "Organic Cotton T-Shirt", "quantity": 1, "price_in_cents": 1999}
    ]
    assert (created().amount_in_cents, created().user_id, created().payment_intent_id) == (1999, 1, "pi_1")
    assert created().actor == {"user": 1, "role": "customer"}
    assert created().cause == {"request_id": "r"}


def test_only_a_user_places_an_order() -> None:
    lines = price_cart(Catalogue.load(None), [CartItem("1")])
    with pytest.raises(MoveNotAllowed):
        place_order(1, lines, INTENT, actor=PAYMENTS, cause=Cause(), timestamp=NOW)


@pytest.mark.parametrize("actor", [STAFF, ADMIN, PAYMENTS], ids=lambda actor: actor.role.value)
@pytest.mark.parametrize("source", list(Status))
@pytest.mark.parametrize("target", list(Status))
def test_staff_makes_every_move_of_the_table_and_no_other(actor: Actor, source: Status, target: Status) -> None:
    given, command = order_in(source), move(target, actor, REFUNDED)
    if target is source:
        assert when(given, command) == []
    elif target.value in TABLE[source.value].split():
        assert when(given, command) == [changed(source, target, version=len(given) + 1, actor=actor)]
    else:
        with pytest.raises(MoveNotInTable):
            when(given, command)


@pytest.mark.parametrize("source", list(Status))
@pytest.mark.parametrize("target", list(Status))
def test_the_owner_cancels_while_unpaid_and_completes_what_is_paid(source: Status, target: Status) -> None:
    given, command = order_in(source), move(target, OWNER, INTENT if target is Status.CANCELLED else PAID)
    unpaid = source in {Status.PENDING, Status.AWAITING_PAYMENT, Status.PAYMENT_FAILED}
    if target is source:
        assert when(given, command) == []
    elif target not in TRANSITIONS[source]:
        with pytest.raises(MoveNotInTable):
            when(given, command)
    elif target in {Status.ORDER_PAID, Status.COMPLETED}:
        version = len(given) + 2
        told = recorded(
            notice(PaymentKind.RECEIVED),
            version=version - 1,
            status=source,
            part_of=version,
            actor=OWNER,
            phase="received",
            received_in_cents=1999,
        )
        assert when(given, command) == [told, changed(source, target, version=version)]
    elif target is Status.CANCELLED and unpaid:
        assert when(given, command) == [changed(source, target, version=len(given) + 1)]
    else:
        with pytest.raises(MoveNotAllowed):
            when(given, command)


@pytest.mark.parametrize("target", [Status.ORDER_PAID, Status.COMPLETED])
@pytest.mark.parametrize(
    "intent",
    [
        INTENT,
        Intent("pi_1", "s", "processing", 1999, 0, 0, "usd"),
        Intent("pi_1", "s", "succeeded", 1999, 1998, 0, "usd"),
        Intent("pi_1", "s", "succeeded", 1998, 1998, 0, "usd"),
        Intent("pi_1", "s", "succeeded", 1999, 1999, 0, "eur"),
        REFUNDED,
    ],
    ids=["unpaid", "processing", "short", "of less", "other money", "refunded"],
)
def test_nobody_marks_an_order_paid_that_is_not(target: Status, intent: Intent) -> None:
    with pytest.raises(PaymentNotConfirmed):
        when(order_in(Status.PENDING), move(target, OWNER, intent))


@pytest.mark.parametrize("intent", [PAID, Intent("pi_1", "s", "succeeded", 1999, 1999, 1998, "usd")])
@pytest.mark.parametrize(
    ("status", "actor"), [(Status.ORDER_PAID, STAFF), (Status.PENDING, STAFF), (Status.PENDING, OWNER)]
)
def test_money_is_never_kept_for_a_cancelled_order(intent: Intent, status: Status, actor: Actor) -> None:
    """Also when the gateway knows of the payment and the order does not yet."""
    with pytest.raises(RefundRequired):
        when(order_in(status), move(Status.CANCELLED, actor, intent))


def test_an_order_whose_payment_is_being_processed_is_not_cancelled() -> None:
    processing = Intent("pi_1", "s", "processing", 1999, 0, 0, "usd")
    with pytest.raises(PaymentInProgress, match="being processed"):
        when(order_in(Status.AWAITING_PAYMENT), move(Status.CANCELLED, OWNER, processing))


def test_cancelling_an_order_cancels_its_open_intent() -> None:
    gateway = OneIntent(INTENT, [])
    order = Order.started(created())
    order.move(Status.CANCELLED, gateway, actor=OWNER, cause=REQUEST, timestamp=NOW)  # type: ignore[arg-type]
    assert (gateway.asked, gateway.intent and gateway.intent.status) == (["cancel"], "canceled")


def test_what_is_not_allowed_asks_the_gateway_nothing() -> None:
    for status, actor in ((Status.SHIPPED, STAFF), (Status.CANCELLED, AUDITOR), (Status.CANCELLED, STRANGER)):
        with pytest.raises((MoveNotInTable, MoveNotAllowed, UnknownOrder)):
            when(order_in(Status.PENDING), move(status, actor))


@pytest.mark.parametrize("status", list(Status))
def test_a_stranger_learns_nothing(status: Status) -> None:
    with pytest.raises(UnknownOrder):
        when(order_in(Status.PENDING), move(status, STRANGER, PAID))


def test_an_auditor_sees_but_moves_nothing() -> None:
    with pytest.raises(MoveNotAllowed):
        when(order_in(Status.PENDING), move(Status.CANCELLED, AUDITOR))
    assert when(order_in(Status.PENDING), move(Status.PENDING, AUDITOR)) == []


def test_impersonation_is_recorded() -> None:
    actor = Actor(1, Role.CUSTOMER, impersonated_by=90)
    (event,) = when(order_in(Status.PENDING), move(Status.CANCELLED, actor, INTENT))
    assert event.actor == {"user": 1, "role": "customer", "impersonated_by": 90}


def test_a_history_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="not with OrderCreated"):
        Order.project(None, [replace(changed(Status.PENDING, Status.CANCELLED), originator_version=1)])
    with pytest.raises(ValueError, match="before version 2 of order-1 one is missing"):
        Order.project(None, [changed(Status.PENDING, Status.CANCELLED)])
    arranged = LeadStatusesArranged(
        originator_id="order-1",
        originator_version=2,
        timestamp=NOW,
        actor={"user": 1, "role": "customer"},
        cause={},
        user_id=1,
        arrangement=[2, 1, 3, 4],
    )
    with pytest.raises(TypeError):
        Order.project(None, [created(), arranged])


def test_no_secret_in_the_words_of_an_intent() -> None:
    assert "secret" not in repr(INTENT)
