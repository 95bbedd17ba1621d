"""An order's history over HTTP, and the order as it was."""

from __future__ import annotations

from typing import Any

import pytest

PAST = ("/history", "?version=1", "?asOf=2030-01-01T12:00:00Z")


@pytest.fixture
def order(client: Any, alice: Any, staff: Any) -> int:
    """An order that was placed, and then declined by staff."""
    order_id = client.post("/orders/new", headers=alice, json=["1"]).json["id"]
    body = {"orderId": order_id, "status": "declined"}
    assert client.post("/orders/status-update", headers=staff | {"X-Request-Id": "no"}, json=body).status_code == 200
    return int(order_id)


def test_a_history(client: Any, alice: Any, order: int) -> None:
    answer = client.get(f"/orders/{order}/history", headers=alice)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    placed, declined = answer.json
    assert placed["actor"] == {"user": 1, "role": "customer"}
    assert placed["data"]["lines"][0]["priceInCents"] == placed["data"]["amountInCents"]
    assert placed["changes"] == {"status": {"previous": None, "current": "pending"}}
    assert (declined["position"], declined["version"], declined["type"]) == (2, 2, "StatusChanged")
    assert declined["cause"] == {"requestId": "no"}
    assert declined["changes"] == {"status": {"previous": "pending", "current": "declined"}}
    assert declined["data"] == {"previous": "pending", "status": "declined"}


@pytest.mark.parametrize("role", ["staff", "auditor", "admin"])
def test_who_else_reads_it(client: Any, tokens: Any, order: int, role: str) -> None:
    assert len(client.get(f"/orders/{order}/history", headers=tokens.headers(9, role=role)).json) == 2


@pytest.mark.parametrize("path", ["{}/history", "{}?version=1", "{}?asOf=2030-01-01T12:00:00Z"])
def test_others_do_not(client: Any, tokens: Any, order: int, path: str) -> None:
    for order_id in (order, 99):
        answer = client.get(f"/orders/{path.format(order_id)}", headers=tokens.headers(2))
        assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-order")
    assert client.get(f"/orders/{path.format(order)}").status_code == 401


def test_the_order_as_it_was(client: Any, alice: Any, order: int) -> None:
    now = client.get(f"/orders/{order}", headers=alice)
    first, second = (client.get(f"/orders/{order}?version={version}", headers=alice) for version in (1, 2))
    assert (first.json["status"], first.headers["ETag"]) == ("pending", '"1"')
    assert first.json == now.json | {"status": "pending"}
    assert (second.data, second.headers["ETag"]) == (now.data, now.headers["ETag"])
    known = alice | {"If-None-Match": '"1"'}
    assert client.get(f"/orders/{order}?version=1", headers=known).status_code == 304


def test_the_order_as_of_a_time(client: Any, alice: Any, order: int) -> None:
    placed, declined = (each["timestamp"] for each in client.get(f"/orders/{order}/history", headers=alice).json)
    for moment, status in ((placed, "pending"), (declined, "declined"), ("2999-01-01t00:00:00.5+02:00", "declined")):
        answer = client.get(f"/orders/{order}", query_string={"asOf": moment}, headers=alice)
        assert answer.json["status"] == status


@pytest.mark.parametrize("query", ["version=3", "version=9007199254740991", "asOf=2020-01-01T00:00:00Z"])
def test_what_never_was(client: Any, alice: Any, order: int, query: str) -> None:
    answer = client.get(f"/orders/{order}?{query}", headers=alice)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-version")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("version=0", "version"),
        ("version=-1", "version"),
        ("version=1&version=2", "version"),
        ("version=", "version"),
        ("asOf=yesterday", "asOf"),
        ("asOf=2026-01-01", "asOf"),
        ("asOf=2026-02-30T00:00:00Z", "asOf"),
        ("asOf=2026-01-01T00:00:00", "asOf"),
        ("asOf=0001-01-01T00:00:00%2B23:59", "asOf"),
        ("at=1", "at"),
    ],
)
def test_queries_that_make_no_sense(client: Any, alice: Any, order: int, query: str, named: str) -> None:
    answer = client.get(f"/orders/{order}?{query}", headers=alice)
    assert (answer.status_code, answer.json["type"]) == (400, "/problems/invalid-query")
    assert list(answer.json["errors"]) == [named]


def test_of_a_version_and_a_time_the_earlier_counts(client: Any, alice: Any, order: int) -> None:
    placed, _ = (each["timestamp"] for each in client.get(f"/orders/{order}/history", headers=alice).json)
    for version, moment in ((1, "2999-01-01T00:00:00Z"), (2, placed)):
        answer = client.get(f"/orders/{order}?version={version}&asOf={moment}", headers=alice)
        assert (answer.json["status"], answer.headers["ETag"]) == ("pending", '"1"')


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("body = '['", id="no JSON"),
        pytest.param("body = '[]'", id="no object"),
        pytest.param("body = replace(body, 'declined', 'mislaid')", id="no status"),
        pytest.param("body = replace(body, '\"role\"', '\"rule\"')", id="nobody"),
        pytest.param('body = replace(body, \'"timestamp":\', \'"timestamp":1,"was":\')', id="no time"),
        pytest.param("body = replace(body, 'declined', '\\ud800')", id="half a character"),
        pytest.param("type = 'PaymentRecorded'", id="another type"),
        pytest.param("type = 'OrderMislaid'", id="an unknown type"),
        pytest.param("type = 'LeadStatusesArranged'", id="not of orders"),
        pytest.param("version = 3", id="one is missing"),
        pytest.param("body = replace(body, '{', '{\"class_version\":9,')", id="of a later release"),
    ],
)
def test_an_event_that_can_not_be_read_is_said(
    *, client: Any, runtime: Any, tokens: Any, alice: Any, order: int, change: str
) -> None:
    with runtime.database.write() as cursor:
        cursor.execute(f"UPDATE events SET {change} WHERE position = 2")
    for path in PAST:
        answer = client.get(f"/orders/{order}{path}", headers=alice)
        assert (answer.status_code, answer.json["type"]) == (500, "/problems/unreadable-event")
        assert client.get(f"/orders/{order}{path}", headers=tokens.headers(2)).status_code == 404
    assert client.get(f"/orders/{order}", headers=alice).json["status"] == "declined"


@pytest.mark.parametrize("loss", ["DELETE FROM events WHERE position = 1", "UPDATE events SET body = '[]'"])
def test_without_its_beginning_an_order_is_nobody_s(
    *, client: Any, runtime: Any, alice: Any, staff: Any, order: int, loss: str
) -> None:
    with runtime.database.write() as cursor:
        cursor.execute(loss)
    for path in PAST:
        answer = client.get(f"/orders/{order}{path}", headers=staff)
        assert (answer.status_code, answer.json["type"]) == (500, "/problems/unreadable-event")
        assert client.get(f"/orders/{order}{path}", headers=alice).status_code == 404


def test_what_an_event_should_not_have_is_not_told(client: Any, runtime: Any, alice: Any, order: int) -> None:
    before = client.get(f"/orders/{order}/history", headers=alice).json
    with runtime.database.write() as cursor:
        cursor.execute(
            f"""UPDATE events SET body = replace(body, '{{"timestamp"', '{{"x":{"[" * 800 + "]" * 800},"timestamp"')"""
        )
    assert client.get(f"/orders/{order}/history", headers=alice).json == before
