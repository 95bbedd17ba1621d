"""What views see of stored bodies, and the documents that they render, to the byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from ledger.events import Event
from ledger.storage.log import RecordedEvent
from projections.bodies import FactsOf, facts_of, facts_of_lines
from projections.fold import fold
from projections.orders import VIEW

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LINES = st.lists(
    st.fixed_dictionaries(
        {"product_id": st.integers(1), "name": TEXTS, "quantity": st.integers(1), "price_in_cents": st.integers(0)}
    )
)


def created(lines: list[dict[str, Any]], timestamp: str) -> str:
    body = {
        "timestamp": timestamp,
        "actor": {"user": 7, "role": "customer"},
        "cause": {"request_id": "r"},
        "order_id": 17,
        "user_id": 7,
        "lines": lines,
        "amount_in_cents": 1,
        "currency": "usd",
        "payment_intent_id": "pi",
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


@given(LINES, TEXTS)
def test_documents_are_what_json_makes_of_them(lines: list[dict[str, Any]], timestamp: str) -> None:
    event = RecordedEvent(1, "order-17", 1, "OrderCreated", created(lines, timestamp))
    products = [
        {
            "id": line["product_id"],
            "name": line["name"],
            "quantity": line["quantity"],
            "priceInCents": line["price_in_cents"],
        }
        for line in lines
    ]
    document = {"id": 17, "userId": 7, "date": timestamp, "products": products, "amountInCents": 1}
    expected = json.dumps(document, ensure_ascii=False, separators=(",", ":")).removesuffix("}")
    assert fold(VIEW, [event]) == {(17,): (17, 7, "pending", 1, expected)}


@given(LINES, TEXTS)
def test_a_line_says_what_the_event_says(lines: list[dict[str, Any]], stream: str) -> None:
    event = RecordedEvent(1, stream, 3, "OrderCreated", created(lines, "t"))
    line = f'["OrderCreated",{json.dumps(stream)},3,{event.body}]'
    assert facts_of_lines(f"{line}\n{line}") == [facts_of(event)] * 2


@pytest.mark.parametrize(
    "line",
    [
        '["OrderCreated","order-1",1,{}]',
        '["NeverHeardOf","order-1",1,{}]',
        '["StatusChanged","order-1",2,{"actor":{"user":1},"cause":{},"status":"shipped"},1]',
        '["StatusChanged","order-1",2,{"actor":{"user":1},"cause":{},"status":"shipped"}',
        '["StatusChanged","order-1",2,{"class_version":2,"actor":{"user":1},"cause":{},"status":"shipped"}]',
    ],
)
def test_what_is_not_plain_is_left_to_a_closer_look(line: str) -> None:
    assert facts_of_lines(line) is None


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


class _Noted(Struct, kw_only=True):
    class_version: Literal[2]
    note: str
    language: str


def test_older_versions_are_upcast_for_views_too() -> None:
    noted = FactsOf(_NotedV2, _Noted)
    old = noted("n-1", 1, '{"note": "hello"}').body
    new = noted("n-1", 1, '{"class_version": 2, "note": "salut", "language": "fr"}').body
    assert (old.note, old.language, new.note, new.language) == ("hello", "en", "salut", "fr")


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"note": 7}', '{"class_version": 3, "note": "x", "language": "x"}', '{"class_version": "2"}'],
)
def test_what_is_no_body_of_its_type_is_a_value_error(body: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        FactsOf(_NotedV2, _Noted)("n-1", 1, body)
