"""What webhooks say of events on every storage, and of those that somebody has altered."""

from __future__ import annotations

import json

import pytest

from ledger.events import StatusChanged
from projections.webhooks.payloads import TYPES
from tests.support.busy import make_busy
from tests.support.webhooks import URL, Bench

DEEP = '{"timestamp":' + "[" * 100_000 + "]" * 100_000 + "}"
NO_AMOUNT = '{"timestamp":"x","user_id":1,"amount_in_cents":NaN,"currency":"usd"}'


def test_what_each_type_tells(bench: Bench) -> None:
    make_busy(bench.store)
    bench.endpoints.register(URL, after=0)
    bench.deliver()
    bodies = [json.loads(body) for _, _, body in bench.receiver.sent]
    with bench.store.database.read() as cursor:
        rows = cursor.execute(
            "SELECT position, stream, version, type, body FROM events WHERE stream LIKE 'order-%' ORDER BY position"
        )
    assert {row[3] for row in rows} == set(TYPES)
    expected = []
    for position, stream, version, kind, text in rows:
        body = json.loads(text)
        amount = {"amountInCents": body.get("amount_in_cents"), "currency": body.get("currency")}
        facts = {
            "OrderCreated": {"userId": body.get("user_id"), "status": "pending"} | amount,
            "StatusChanged": {"previous": body.get("previous"), "status": body.get("status")},
            "PaymentRecorded": {"status": body.get("order_status"), "kind": body.get("kind")} | amount,
        }[kind]
        order = {"orderId": int(stream.removeprefix("order-")), "version": version, "position": position}
        expected.append({"type": TYPES[kind], "timestamp": body["timestamp"], "data": order | facts})
    assert sorted(bodies, key=lambda each: each["data"]["position"]) == expected


def test_an_event_of_a_former_version_is_told_in_its_present_shape(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StatusChanged, "class_version", 2, raising=False)
    monkeypatch.setattr(
        StatusChanged, "upcast_v1_v2", lambda state: state.update(status=state["status"].upper()), raising=False
    )
    bench.endpoints.register(URL)
    bench.order()
    with bench.store.database.write() as cursor:
        body = '{"timestamp":"2026-01-01T00:00:00.000000Z","previous":"pending","status":"cancelled"}'
        cursor.execute("INSERT INTO events VALUES (2, 'order-1', 2, 'StatusChanged', ?)", (body,))
    bench.deliver()
    assert json.loads(bench.receiver.sent[-1][2])["data"]["status"] == "CANCELLED"


@pytest.mark.parametrize("body", ["", "[]", "{}", '"x"', "null", '{"timestamp":"x"}', DEEP, NO_AMOUNT])
def test_an_event_that_was_written_over_stops_nobody(bench: Bench, body: str) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE events SET body = ? WHERE position = 1", (body,))
    bench.deliver()
    assert bench.receiver.positions == [2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1]


def test_bytes_that_are_no_text_stop_nobody(bench: Bench) -> None:
    """SQLite takes any bytes for text, PostgreSQL none that are not."""
    if bench.store.database.dialect != "sqlite":
        pytest.skip("PostgreSQL has no such text")
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE events SET body = CAST(x'7bff7d' AS TEXT) WHERE position = 1")
    bench.deliver()
    assert bench.receiver.positions == [2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1]


def test_half_a_character_stops_nobody(bench: Bench) -> None:
    """An altered event that can be read is told as it is: that it was altered is for proofs to show."""
    bench.endpoints.register(URL)
    bench.order()
    bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE events SET body = replace(body, '\"usd\"', '\"\\ud800\"') WHERE position = 1")
    bench.deliver()
    assert sorted(bench.receiver.positions) == [1, 2]


def test_an_event_that_is_missing_stops_nobody(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    bench.order()
    bench.die_at("filled")
    with bench.store.database.write() as cursor:
        cursor.execute("DELETE FROM events WHERE position = 1")
    bench.deliver()
    assert bench.receiver.positions == [2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1]
