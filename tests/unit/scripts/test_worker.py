from __future__ import annotations

import io
import json
import socket
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.http.errors import InvalidChunkSize, NoMoreData
from werkzeug.exceptions import BadRequest

from scripts.worker import Worker, malformed_bodies_refused, problem_response


class Stream:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, size: int = -1) -> bytes:
        raise self._error


def body_of(stream: Stream | io.BytesIO, size: int = 3, **environ: str) -> bytes:
    def app(environ: dict[str, Any], _: Any) -> list[bytes]:
        return [environ["wsgi.input"].read(size), environ["wsgi.input"].read(size)]

    return b"".join(malformed_bodies_refused(app)({"wsgi.input": stream, **environ}, lambda *_: None))


def test_a_sound_body_is_passed_on() -> None:
    assert body_of(io.BytesIO(b"body")) == b"body"
    assert body_of(io.BytesIO(b"body"), CONTENT_LENGTH="4") == b"body"
    assert body_of(io.BytesIO(b"body"), -1, CONTENT_LENGTH="4") == b"body"


@pytest.mark.parametrize("size", [-1, 100, 4])
def test_a_body_that_ends_early_is_the_clients_fault(size: int) -> None:
    with pytest.raises(BadRequest):
        body_of(io.BytesIO(b"body"), size, CONTENT_LENGTH="5")


@pytest.mark.parametrize("error", [InvalidChunkSize(b"ZZ"), NoMoreData(b"")])
def test_a_malformed_body_is_the_clients_fault(error: Exception) -> None:
    with pytest.raises(BadRequest):
        body_of(Stream(error))


@pytest.mark.parametrize("status", list(HTTPStatus))
def test_every_answer_is_a_whole_problem_document(status: HTTPStatus) -> None:
    head, _, body = problem_response(status, "r-1").partition(b"\r\n\r\n")
    assert {b"X-Content-Type-Options: nosniff", b"X-Frame-Options: DENY"} <= set(head.split(b"\r\n"))

    lines = head.decode().split("\r\n")
    document = json.loads(body)
    assert lines[0] == f"HTTP/1.1 {int(status)} {status.phrase}"
    assert "Content-Type: application/problem+json" in lines
    assert "Connection: close" in lines
    assert f"Content-Length: {len(body)}" in lines
    assert "X-Request-Id: r-1" in lines
    assert document["status"] == status
    assert document["requestId"] == "r-1"
    assert set(document) == {"type", "title", "status", "detail", "requestId"}


@pytest.mark.parametrize(
    ("sent", "queued", "alive", "read_ahead", "stays"),
    [
        (b"GET", 0, True, b"", True),
        (b"", 0, True, b"", False),
        (b"GET", 1, True, b"", False),
        (b"GET", 0, False, b"", False),
        (b"GET", 0, True, b"GET", False),
    ],
    ids=["asks again", "pauses", "others wait", "the worker stops", "pipelines"],
)
def test_a_thread_stays_with_a_client_who_asks_again_and_keeps_nobody_waiting(
    sent: bytes, queued: int, alive: bool, read_ahead: bytes, stays: bool
) -> None:
    worker = Worker.__new__(Worker)
    worker._queued, worker.alive = queued, alive
    here, there = socket.socketpair()
    with here, there:
        there.sendall(sent)
        parser = SimpleNamespace(unreader=SimpleNamespace(buf=io.BytesIO(read_ahead)))
        assert worker._asks_again(SimpleNamespace(sock=here, is_http2=False, parser=parser)) is stays
