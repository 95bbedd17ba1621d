"""The log over HTTP: who may read it, page by page and as it grows, and that reading it is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from api.event_stream import BEAT, LASTS, POLL, EventStream
from ledger.errors import StorageUnavailable
from projections.log import LogReads

EVENTS = "/audit/events"


@pytest.fixture
def auditor(tokens: Any) -> dict[str, str]:
    headers: dict[str, str] = tokens.headers(92, role="auditor")
    return headers


@pytest.fixture
def five(client: Any, alice: Any) -> list[int]:
    """The positions of five orders."""
    for _ in range(5):
        client.post("/orders/new", headers=alice, json=["1"])
    return [1, 2, 3, 4, 5]


def walk(client: Any, headers: Any, url: str) -> list[list[int]]:
    pages = []
    while url:
        answer = client.get(url, headers=headers)
        assert answer.status_code == 200
        pages.append([event["position"] for event in answer.json])
        url = answer.headers.get("Link", "").removeprefix("<").partition(">")[0]
    return pages


def test_pages(client: Any, auditor: Any, five: list[int]) -> None:
    assert walk(client, auditor, EVENTS) == [five]
    assert walk(client, auditor, f"{EVENTS}?limit=2") == [[1, 2], [3, 4], [5]]
    assert walk(client, auditor, f"{EVENTS}?after=3&type=OrderCreated&user=1&limit=1") == [[4], [5]]
    assert walk(client, auditor, f"{EVENTS}?stream=order-2") == [[2]]
    event = client.get(f"{EVENTS}?limit=1", headers=auditor).json[0]
    assert (event["stream"], event["version"], event["type"], event["body"]["order_id"]) == (
        "order-1",
        1,
        "OrderCreated",
        1,
    )


def test_a_page_has_a_tag(client: Any, auditor: Any, alice: Any, five: list[int]) -> None:
    tag = client.get(f"{EVENTS}?limit=5", headers=auditor).headers["ETag"]
    again = client.get(f"{EVENTS}?limit=5", headers=auditor | {"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    client.post("/orders/new", headers=alice, json=["1"])
    assert client.get(EVENTS, headers=auditor | {"If-None-Match": tag}).status_code == 200
    assert client.get(f"{EVENTS}?limit=5", headers=auditor | {"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}/stream"])
def test_it_is_for_auditors_and_admins(client: Any, tokens: Any, five: list[int], path: str) -> None:
    assert client.get(path).status_code == 401
    for role in ("customer", "staff"):
        answer = client.get(path, headers=tokens.headers(7, role=role))
        assert (answer.status_code, answer.json["type"]) == (403, "/problems/forbidden")
    with client.get(path, headers=tokens.headers(7, role="admin")) as answer:
        assert answer.status_code == 200


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}/stream"])
def test_a_position_that_the_log_does_not_have(client: Any, auditor: Any, five: list[int], path: str) -> None:
    assert client.get(f"{EVENTS}?after=5", headers=auditor).json == []
    answer = client.get(f"{path}?after=6", headers=auditor)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-position")


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=x", "limit=0", "limit=1001", "type=Order", "user=0", "stream=order-0", "stream=a b", "from=1"],
)
def test_queries_that_make_no_sense(client: Any, auditor: Any, query: str) -> None:
    answer = client.get(f"{EVENTS}?{query}", headers=auditor)
    assert (answer.status_code, answer.json["type"]) == (400, "/problems/invalid-query")
    assert list(answer.json["errors"]) == [query.partition("=")[0]]


def test_the_stream_begins_where_the_client_was(client: Any, auditor: Any, five: list[int]) -> None:
    for query, headers in (("?after=3", {}), ("?after=1", {"Last-Event-ID": "3"}), ("", {"Last-Event-ID": "3"})):
        with client.get(f"{EVENTS}/stream{query}", headers=auditor | headers) as answer:
            assert answer.mimetype == "text/event-stream"
            parts = iter(answer.response)
            assert next(parts) == b"retry: 1000\n\n"
            assert [line for line in next(parts).decode().splitlines() if line.startswith("id")] == ["id: 4", "id: 5"]
    bad = client.get(f"{EVENTS}/stream", headers=auditor | {"Last-Event-ID": "x"})
    assert (bad.status_code, bad.json["type"]) == (400, "/problems/invalid-header")


def test_there_is_room_for_so_many_streams(client: Any, auditor: Any, five: list[int]) -> None:
    opened = [client.get(f"{EVENTS}/stream", headers=auditor) for _ in range(4)]
    full = client.get(f"{EVENTS}/stream", headers=auditor)
    assert (full.status_code, full.json["type"]) == (429, "/problems/too-many-streams")
    assert int(full.headers["Retry-After"]) > 0
    for answer in opened:
        answer.close()
    with client.get(f"{EVENTS}/stream", headers=auditor) as answer:
        assert answer.status_code == 200


@pytest.mark.usefixtures("five")
def test_every_audit_read_is_logged(
    client: Any, auditor: Any, tokens: Any, alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ledger.audit")
    client.get(f"{EVENTS}?after=2", headers=auditor | {"X-Request-Id": "r1"})
    client.get("/orders/3", headers=tokens.headers(92, role="auditor", act={"sub": "7"}))
    client.get("/orders/3/history", headers=auditor)
    client.get("/orders/3", headers=alice)
    client.get(EVENTS, headers=alice)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "ledger.audit"]
    assert lines[0] == {
        "event": "audit_read",
        "user": 92,
        "role": "auditor",
        "method": "GET",
        "path": EVENTS,
        "query": "after=2",
        "requestId": "r1",
    }
    assert [(line["path"], line.get("impersonated_by")) for line in lines[1:]] == [
        ("/orders/3", 7),
        ("/orders/3/history", None),
    ]


class Time:
    """Stands still but for sleep; what happens at some second happens in a sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = False
        self.at: dict[float, Any] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()


def streamed(app_log: Any, time: Time, after: int = 0) -> Iterator[str]:
    return (
        part.decode() for part in EventStream(app_log, lambda: time.stopped, timer=time, sleep=time.sleep).lines(after)
    )


def test_what_comes_is_sent_once_and_silence_is_broken(client: Any, alice: Any, runtime: Any, five: list[int]) -> None:
    time = Time()
    for moment in (20.0, 20.5, 50.0):
        time.at[moment] = lambda: client.post("/orders/new", headers=alice, json=["1"])
    parts = list(streamed(LogReads(runtime.database), time, 3))
    ids = [int(line.removeprefix("id: ")) for part in parts for line in part.splitlines() if line.startswith("id: ")]
    assert ids == [4, 5, 6, 7, 8]
    silences = (20 - POLL, 29, LASTS - 50 - 2 * POLL)
    assert abs(parts.count(":\n\n") - sum(silence // BEAT for silence in silences)) <= len(silences)
    assert time.now == LASTS
    assert all(part.endswith("\n\n") for part in parts)


def test_what_was_written_over_an_event_is_no_part_of_the_stream(runtime: Any, auditor: Any, five: list[int]) -> None:
    forged = "\n\nid: 999\nevent: evil\ndata: {}\n\n"
    with runtime.database.write() as cursor:
        cursor.execute("UPDATE events SET body = ?, type = ? WHERE position = 3", (forged, f"Evil{forged}"))
    sent = "".join(streamed(LogReads(runtime.database), Time(), 2))
    names = [line for line in sent.splitlines() if line.startswith(("id:", "event:"))]
    assert names[0::2] == ["id: 3", "id: 4", "id: 5"]
    assert names[1].startswith("event: Evil")


def test_a_process_that_stops_ends_the_stream(runtime: Any) -> None:
    time = Time()
    time.at[30.0] = lambda: setattr(time, "stopped", True)
    list(streamed(LogReads(runtime.database), time))
    assert time.now == 30.0


def test_a_database_that_is_gone_ends_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    class Gone:
        def page(self, *_: Any) -> Any:
            raise StorageUnavailable("gone")

    assert list(streamed(Gone(), Time())) == ["retry: 1000\n\n"]
    assert "a stream of events ends: gone" in caplog.text
