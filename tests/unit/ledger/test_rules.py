"""The rules that a log is verified by: what the aggregates record keeps them, and everything else is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.actor import Actor, Cause, Role
from ledger.events import EVENT_TYPES, Event
from ledger.order import Order, place_order
from ledger.payments.gateway import Intent, PaymentKind
from ledger.statuses import TRANSITIONS, Status
from ledger.storage.bodies import JSONBodies
from ledger.storage.log import RecordedEvent
from projections.rules import Rules
from scripts.verify_export import MOVES, PHASES, Orders
from tests.support.lives import deliveries, lives
from tests.support.scenario import changed, created, notice, recorded

BOARD = {"timestamp": "t", "actor": {"user": 7}, "cause": {}, "user_id": 7, "arrangement": [2, 1, 3, 4]}


def arranged(stream: str, **changes: Any) -> RecordedEvent:
    return RecordedEvent(1, stream, 1, "LeadStatusesArranged", json.dumps(BOARD | changes))


def stored(event: Any, position: int, **changes: Any) -> RecordedEvent:
    body = {name: value for name, value in vars(event).items() if not name.startswith("originator_")} | changes
    version = getattr(event, "class_version", 1)
    if version > 1:
        body["class_version"] = version
    text = JSONBodies().encode(body).decode()
    return RecordedEvent(position, event.originator_id, event.originator_version, event.TOPIC, text)


def faults(*events: RecordedEvent) -> list[str]:
    """What is wrong with the last of them; nothing is with those before."""
    rules = Rules()
    *before, last = events
    for event in before:
        assert list(rules.add(event)) == []
    return list(rules.add(last))


PLACED = stored(created(), 1)
PAID = recorded(notice(PaymentKind.RECEIVED), phase="received", received_in_cents=1999)


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_the_moves_of_the_table_and_no_others(before: Status, after: Status) -> None:
    rules = Rules()
    rules.add(PLACED)
    rules._orders["order-1"].status = before.value

    told = list(rules.add(stored(changed(before, after), 2)))

    assert told == ([] if after in TRANSITIONS[before] else [f"no order may move from {before} to {after}"])


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([stored(created(), 1, amount_in_cents=1)], "the amount is 1, the lines come to 1999"),
        ([stored(created(), 1, order_id=2)], "order 2 is not created here"),
        ([stored(created(), 1, user_id=2)], "an order belongs to the user who places it"),
        ([PLACED, PLACED], "order 1 is not created here"),
        (
            [PLACED, stored(changed(Status.SHIPPED, Status.COMPLETED), 2)],
            "it moves from shipped, and the order is",
        ),
        ([stored(changed(Status.PENDING, Status.COMPLETED), 1)], "there is no such order yet"),
        ([stored(PAID, 1)], "there is no such order yet"),
        ([PLACED, stored(PAID, 2, amount_in_cents=5)], "it does not fit the order and is not noted as an anomaly"),
        ([PLACED, stored(PAID, 2, order_status="shipped")], "it says that the order is shipped, which is pending"),
        ([PLACED, stored(PAID, 2, totals={**PAID.totals, "records": 2})], "the payment's totals don't add up: records"),
        ([PLACED, stored(PAID, 2, totals={**PAID.totals, "received_in_cents": 1})], "don't add up: received_in_cents"),
        ([PLACED, stored(PAID, 2, totals={**PAID.totals, "more": 1})], "the payment's totals don't add up: too many"),
        ([PLACED, stored(PAID, 2, totals=None)], "its body can't be read: AttributeError"),
        ([PLACED, stored(PAID, 2, kind="stolen")], "its body can't be read: ValueError"),
        (
            [PLACED, stored(changed(Status.PENDING, Status.COMPLETED), 2, status="eaten")],
            "no order may move from pending to eaten",
        ),
        ([RecordedEvent(1, "x-1", 1, "Eaten", "{}")], "there is no event type 'Eaten'"),
        ([RecordedEvent(1, "order-1", 1, "StatusChanged", "{} {}")], "its body goes on after its object"),
        ([RecordedEvent(1, "order-1", 1, "OrderCreated", "x")], "its body can't be read"),
        ([RecordedEvent(1, "order-1", 1, "OrderCreated", "[]")], "its body can't be read"),
        (
            [arranged("leads-8")],
            "the board of user 7 is not kept here",
        ),
        (
            [arranged("leads-7", arrangement=[1, 1, 2, 3])],
            "it does not arrange every lead status once",
        ),
    ],
)
def test_what_breaks_a_rule_is_named(events: list[RecordedEvent], fault: str) -> None:
    told = faults(*events)

    assert any(fault in each for each in told), told


def test_what_the_aggregates_record_keeps_the_rules() -> None:
    assert faults(PLACED) == []
    assert faults(PLACED, stored(PAID, 2)) == []
    assert faults(arranged("leads-7")) == []


def anomalies(amount: int) -> Callable[[Order], None]:
    """Records that money came by another intent, and more of it than the order is of."""
    payments = Actor(None, Role.PAYMENTS)

    def record(order: Order) -> None:
        for told in (
            notice(PaymentKind.RECEIVED, amount, intent_id="pi_other"),
            notice(PaymentKind.RECEIVED, amount + 1, intent_id="pi_life"),
            notice(PaymentKind.REFUNDED, amount + 1, intent_id="pi_life"),
            notice(PaymentKind.DISPUTE, 5, intent_id="pi_life", currency="eur", reference="dp_x", detail="lost"),
        ):
            order.record_payment(told, actor=payments, cause=Cause(), timestamp="2026-01-01T12:00:00.000000Z")

    return record


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_life_of_a_payment_keeps_the_rules_as_it_is_recorded(data: st.DataObject) -> None:
    amount = 1999
    intent = Intent("pi_life", "s", "requires_payment_method", amount, 0, 0, "usd")
    lines = created().lines
    placed = place_order(
        1, lines, intent, actor=Actor(1, Role.CUSTOMER), cause=Cause(), timestamp="2026-01-01T12:00:00.000000Z"
    )
    order = Order.started(placed)
    life = data.draw(lives("pi_life", amount))
    if data.draw(st.booleans()):
        anomalies(amount)(order)
    for told in data.draw(deliveries(life.notices)):
        order.record_payment(
            told, actor=Actor(None, Role.PAYMENTS), cause=Cause(), timestamp="2026-01-01T12:00:00.000000Z"
        )
    rules = Rules()
    for position, event in enumerate([placed, *order.collect_events()], 1):
        assert list(rules.add(stored(event, position))) == []
    assert rules.digest().count == 1


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_single_file_verifier_has_the_same_rules(data: st.DataObject) -> None:
    placed = created()
    order = Order.started(placed)
    life = data.draw(lives("pi_1", 1999))
    for told in data.draw(deliveries(life.notices)):
        order.record_payment(told, actor=Actor(None, Role.PAYMENTS), cause=Cause(), timestamp=placed.timestamp)
    rules, single = Rules(), Orders()
    for position, event in enumerate([placed, *order.collect_events()], 1):
        row = stored(event, position)
        if position > 1 and data.draw(st.booleans()):
            old, new = data.draw(
                st.sampled_from([("1999", "1998"), ("pending", "shipped"), ('"records":1', '"records":2')])
            )
            row = row._replace(body=row.body.replace(old, new))
        said = list(rules.add(row))
        assert list(single.add(row.stream, row.version, row.type, json.loads(row.body))) == said
    assert single.state() == str(rules.digest())


def in_version_1(event: RecordedEvent) -> RecordedEvent:
    """A PaymentRecorded as it was stored before it said what disputes took."""
    body = json.loads(event.body)
    del body["class_version"], body["totals"]["lost_in_cents"]
    return event._replace(body=json.dumps(body))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_records_of_version_1_keep_the_rules_of_their_day(data: st.DataObject) -> None:
    placed = created()
    order = Order.started(placed)
    for told in data.draw(deliveries(data.draw(lives("pi_1", 1999)).notices)):
        order.record_payment(told, actor=Actor(None, Role.PAYMENTS), cause=Cause(), timestamp=placed.timestamp)
    rules, single, old = Rules(), Orders(), data.draw(st.integers(0, 8))
    for position, event in enumerate([placed, *order.collect_events()], 1):
        row = stored(event, position)
        if row.type == "PaymentRecorded" and position <= old:
            row = in_version_1(row)
        assert list(rules.add(row)) == []
        assert list(single.add(row.stream, row.version, row.type, json.loads(row.body))) == []


def test_a_wrong_total_of_version_1_is_named() -> None:
    wrong = in_version_1(stored(PAID, 2, totals={**PAID.totals, "received_in_cents": 1}))

    assert faults(PLACED, in_version_1(stored(PAID, 2))) == []
    assert faults(PLACED, wrong) == ["the payment's totals don't add up: received_in_cents"]
    single = Orders()
    assert list(single.add("order-1", 1, "OrderCreated", json.loads(PLACED.body))) == []
    assert list(single.add("order-1", 2, "PaymentRecorded", json.loads(wrong.body))) == faults(PLACED, wrong)


@pytest.mark.parametrize("type", EVENT_TYPES, ids=lambda type: type.TOPIC)
def test_both_verifiers_know_every_event_type(type: type[Event]) -> None:
    unknown = "there is no event type"

    assert not any(unknown in fault for fault in Rules().add(RecordedEvent(1, "s-1", 1, type.TOPIC, "{}")))
    with suppress(KeyError):
        assert not any(unknown in fault for fault in Orders().add("s-1", 1, type.TOPIC, {}))


def test_both_verifiers_have_the_same_table_of_moves() -> None:
    assert {str(before): {str(after) for after in TRANSITIONS[before]} for before in Status} == MOVES
    assert set(PHASES) | {"refunded", "refund", "dispute"} == {kind.value for kind in PaymentKind}
