"""Auditors at a real server: the log as it grows, from whichever worker, and the line that says who read it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import requests

from tests.support.server import Server

WAIT = 60


def _stream(client: requests.Session, server: Server, after: int) -> requests.Response:
    """A stream that begins after a position; there is no room until the server finds that others have gone."""
    deadline = time.monotonic() + WAIT
    while True:
        headers = {"Last-Event-ID": str(after)}
        answer = client.get(f"{server.url}/audit/events/stream", headers=headers, stream=True, timeout=WAIT)
        if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS or time.monotonic() > deadline:
            return answer
        answer.close()
        time.sleep(0.2)


def followed(server: Server, after: int, until: int) -> list[int]:
    """The positions that come after one, on a connection of its own, up to another one."""
    with server.client(92, "auditor") as client, _stream(client, server, after) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        positions = []
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                positions.append(json.loads(line.removeprefix(b"data: "))["position"])
                if positions[-1] >= until:
                    break
        return positions


def place(server: Server, user: int, count: int) -> None:
    with server.client(user) as client:
        for _ in range(count):
            assert client.post(f"{server.url}/orders/new", json=["1"], timeout=WAIT).status_code == 201


def test_followers_see_every_event_once_while_clients_write(server: Server) -> None:
    with server.client(92, "auditor") as client:
        events = client.get(f"{server.url}/audit/events", timeout=WAIT).json()
    start = events[-1]["position"] if events else 0
    end = start + 4 * 40
    with ThreadPoolExecutor(7) as pool:
        writing = [pool.submit(place, server, user, 40) for user in range(1, 5)]
        whole = pool.submit(followed, server, start, end)
        # Another one loses its connection again and again, and goes on where it was.
        seen: list[int] = []
        while not seen or seen[-1] < end:
            last = seen[-1] if seen else start
            seen += followed(server, last, min(last + 25, end))
        for each in writing:
            each.result()
        assert whole.result() == seen == list(range(start + 1, end + 1))


def test_pages_walk_the_whole_log(server: Server) -> None:
    place(server, 1, 7)
    positions, url = [], f"{server.url}/audit/events?limit=3"
    with server.client(92, "auditor") as client:
        while url:
            answer: requests.Response = client.get(url, timeout=WAIT)
            positions += [event["position"] for event in answer.json()]
            url = server.url + answer.links["next"]["url"] if "next" in answer.links else ""
    assert positions == list(range(1, len(positions) + 1))
    assert len(positions) >= 7


def test_reading_is_logged_at_every_level(server: Server) -> None:
    assert server.environ["LEDGER_LOG_LEVEL"] == "warning"
    with server.client(4242, "auditor") as client:
        client.get(f"{server.url}/orders/1/history", headers={"X-Request-Id": "read-1"}, timeout=WAIT)
    (line,) = (line for line in server.log if "read-1" in line)
    noted = json.loads(line[line.index("{") :])
    assert (noted["event"], noted["user"], noted["path"]) == ("audit_read", 4242, "/orders/1/history")
