"""Requests as bytes on a socket, for all that a well-behaved client would not send."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SECONDS = 10
"""An answer that takes longer counts as a hang."""


@dataclass(frozen=True)
class Answer:
    """The one answer on a connection; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """The problem document, checked for its form."""
        assert self.headers["content-type"] == "application/problem+json", (self.headers, self.body[:300])
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert document["requestId"] == self.headers["x-request-id"]
        assert {"type", "title", "detail"} <= set(document)
        return document


def exchange(url: str, request: bytes, *, half_close: bool = False) -> Answer:
    """Sends the bytes, perhaps closes the sending side, and reads until the server closes."""
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=SECONDS) as connection:
        with suppress(OSError):  # it is refused before all of it is sent; the answer is there to be read
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            assert received, "the connection was reset without an answer"
    return parsed(received, head_only=request.startswith(b"HEAD "))


def parsed(response: bytes, *, head_only: bool = False) -> Answer:
    """The parts of one whole response."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1."), response[:300]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert len(body) == (0 if head_only else int(headers.get("content-length", "0"))), response[:300]
    return Answer(int(first.split()[1]), headers, body)


def request(method: str, target: str, *headers: str, body: bytes = b"", host: str = "Host: test") -> bytes:
    """A request with these header lines, of which none is added but Host, Connection and, with a body, its length."""
    lines = [f"{method} {target} HTTP/1.1", host, "Connection: close", *headers]
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(line for line in lines if line).encode("latin-1") + b"\r\n\r\n" + body
