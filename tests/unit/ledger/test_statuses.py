"""Reading statuses as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UnknownStatus
from ledger.statuses import Status, parse_status


@given(st.sampled_from(list(Status)), st.sampled_from(" _-"), st.data())
def test_any_case_and_any_separator(status: Status, separator: str, data: st.DataObject) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=len(status), max_size=len(status)))
    text = "".join(c.upper() if up else c for c, up in zip(status.value, upper, strict=True)).replace("_", separator)
    assert parse_status(text) is status


@pytest.mark.parametrize("text", ["Pending", "Awaiting Payment", "Payment Failed", "Order Paid", "Shipped", "Declined"])
def test_the_kits_own_spelling(text: str) -> None:
    assert parse_status(text).value == text.lower().replace(" ", "_")


@pytest.mark.parametrize(
    "text", ["", " pending", "pending ", "paid", "order  paid", "order.paid", "orderpaid", "x" * 99]
)
def test_anything_else_is_unknown(text: str) -> None:
    with pytest.raises(UnknownStatus):
        parse_status(text)
