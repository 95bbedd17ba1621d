"""The trace of a request is kept with its events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.traces import trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (None, None),
        ("", None),
        (GOOD, TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-what-the-future-will-be", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (GOOD.upper(), None),
        (f"00-{TRACE[:-1]}-00f067aa0ba902b7-01", None),
        (f"{GOOD}\n", None),
    ],
)
def test_only_what_makes_sense_counts(header: str | None, trace: str | None) -> None:
    assert trace_id(header) == trace


def test_events_say_of_which_trace_they_are(client: Any, alice: dict[str, str], runtime: Any) -> None:
    client.post("/orders/new", headers={**alice, "traceparent": GOOD}, json=["1"])
    client.post("/orders/new", headers={**alice, "traceparent": "nonsense"}, json=["1"])

    first, second = (json.loads(runtime.services.ledger.history(order)[0].body) for order in (1, 2))
    assert first["cause"]["trace_id"] == TRACE
    assert "trace_id" not in second["cause"]
    client.put("/leads/statuses/order", headers={**alice, "traceparent": GOOD}, json={"id": 4, "statusOrder": 1})
    [moved] = [event for event in runtime.services.log.page(2, 1).events if event.type == "LeadStatusesArranged"]
    assert json.loads(moved.body)["cause"]["trace_id"] == TRACE
    assert client.get("/orders/1/history", headers=alice).get_json()[0]["cause"]["traceId"] == TRACE
