"""The stored form of events is a promise: golden bytes of every version, which are never edited."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from eventsourcing.persistence import Mapper, StoredEvent

from ledger.actor import Actor, Cause, Role
from ledger.events import (
    EVENT_TYPES,
    Event,
    LeadStatusesArranged,
    OrderCreated,
    PaymentRecorded,
    StatusChanged,
    upcast,
)
from ledger.storage.bodies import JSONBodies
from ledger.storage.log import RecordedEvent
from projections.fold import fold
from projections.log import BEGINNING
from projections.store import VIEWS

GOLDEN = Path(__file__).parent / "golden"
MAPPER: Mapper[str] = Mapper(JSONBodies())
ACTOR = Actor(7, Role.CUSTOMER, impersonated_by=90).record()
CAUSE = Cause(request_id="req-1", idempotency_key="key-1", request_hash="ab12").record()
COMMON: dict[str, Any] = {"timestamp": "2026-01-02T03:04:05.000006Z", "actor": ACTOR, "cause": CAUSE}

EVENTS: dict[str, Event] = {
    "OrderCreated.v1.json": OrderCreated(
        originator_id="order-17",
        originator_version=1,
        order_id=17,
        user_id=7,
        lines=[{"product_id": 3, "name": "Crème brûlée", "quantity": 2, "price_in_cents": 895}],
        amount_in_cents=1790,
        currency="usd",
        payment_intent_id="pi_17",
        **COMMON,
    ),
    "StatusChanged.v1.json": StatusChanged(
        originator_id="order-17",
        originator_version=2,
        timestamp="2026-01-02T03:04:06.000007Z",
        actor=Actor(None, Role.PAYMENTS).record(),
        cause=Cause(stripe_event_id="evt_1").record(),
        previous="pending",
        status="order_paid",
    ),
    "PaymentRecorded.v2.json": PaymentRecorded(
        originator_id="order-17",
        originator_version=3,
        timestamp="2026-01-02T03:04:07.000008Z",
        actor=Actor(90, Role.STAFF).record(),
        cause=Cause(request_id="req-2", idempotency_key="key-2", request_hash="cd34").record(),
        kind="refund",
        payment_intent_id="pi_17",
        amount_in_cents=500,
        currency="usd",
        occurred_at="2026-01-02T03:04:07.000000Z",
        reference="re_1",
        detail="pending",
        anomaly=None,
        order_status="order_paid",
        totals={
            "records": 1,
            "phase": None,
            "received_in_cents": 0,
            "refunded_in_cents": 500,
            "open_disputes": 0,
            "lost_disputes": 0,
            "lost_in_cents": 0,
            "anomalies": 0,
        },
    ),
    "LeadStatusesArranged.v1.json": LeadStatusesArranged(
        originator_id="leads-7", originator_version=1, user_id=7, arrangement=[2, 1, 3, 4], **COMMON
    ),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_stored_as_ever(name: str) -> None:
    event, golden = EVENTS[name], (GOLDEN / name).read_bytes()
    stored = MAPPER.to_stored_event(event)
    assert stored.state == golden
    assert stored.topic == name.split(".", maxsplit=1)[0]
    assert MAPPER.to_domain_event(stored) == event


@pytest.mark.parametrize("name", EVENTS)
def test_the_log_is_searched_for_users_by_the_beginning_of_bodies(name: str) -> None:
    body = (GOLDEN / name).read_text()
    user = json.loads(body)["actor"]["user"]
    beginning = re.escape(BEGINNING).replace("_", ".") + ("null" if user is None else str(user)) + ","
    assert re.match(beginning, body)


def test_every_event_type_has_its_golden_bytes() -> None:
    current = {f"{type.TOPIC}.v{getattr(type, 'class_version', 1)}.json" for type in EVENT_TYPES}
    assert current <= {path.name for path in GOLDEN.iterdir()}
    assert {type.TOPIC for type in EVENT_TYPES} >= {type for view in VIEWS for type in view.handlers}


def test_the_views_understand_the_golden_bytes() -> None:
    events = [
        RecordedEvent(position, stored.originator_id, stored.originator_version, stored.topic, stored.state.decode())
        for position, stored in enumerate((MAPPER.to_stored_event(event) for event in EVENTS.values()), 1)
    ]
    rows = {view.name: list(fold(view, events).values()) for view in VIEWS}
    assert rows["orders"][0][:4] == (17, 7, "order_paid", 3)
    assert rows["idempotency"] == [
        ("user-7", "key-1", "ab12", 17, 1, "pending"),
        ("stripe", "evt_1", "", 17, 2, "order_paid"),
        ("user-90", "key-2", "cd34", 17, 3, "order_paid"),
    ]
    assert rows["payments"] == [(17, "", 0, 500, 0, 0, 0, 0, "2026-01-02T03:04:07.000008Z")]
    assert rows["lead_boards"] == [(7, "[2, 1, 3, 4]", 1)]


def test_version_1_of_a_payment_says_nothing_of_what_disputes_took() -> None:
    stored = StoredEvent("order-17", 3, "PaymentRecorded", (GOLDEN / "PaymentRecorded.v1.json").read_bytes())
    assert MAPPER.to_domain_event(stored) == EVENTS["PaymentRecorded.v2.json"]


@dataclass(frozen=True, kw_only=True)
class _NotedV2(Event):
    """An event type that has grown a field since version 1."""

    TOPIC = "Noted"
    class_version: ClassVar[int] = 2

    note: str
    language: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["language"] = "en"


def test_old_versions_are_upcast_when_read_and_never_rewritten() -> None:
    v1 = json.dumps({**COMMON, "note": "hello"}).encode()
    MAPPER.to_stored_event(_NotedV2(originator_id="n-1", originator_version=9, note="", language="", **COMMON))
    stored = StoredEvent("n-1", 1, "Noted", v1)
    event = MAPPER.to_domain_event(stored)
    assert event == _NotedV2(originator_id="n-1", originator_version=1, note="hello", language="en", **COMMON)
    assert stored.state == v1
    body = {key: value for key, value in vars(event).items() if not key.startswith("originator_")}
    assert upcast(_NotedV2, json.loads(v1)) == body  # what views see is what commands see
    assert upcast(_NotedV2, {**body, "class_version": 2}) == body
    assert json.loads(MAPPER.to_stored_event(event).state)["class_version"] == 2


@pytest.mark.parametrize("value", [float("nan"), object(), b"bytes"])
def test_what_is_not_plain_json_is_not_stored(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        JSONBodies().encode({"value": value})
