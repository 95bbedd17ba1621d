"""A receiver of webhooks: a real HTTP server that answers as it is told to, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

DROP = 0
"""In place of a status: the connection is closed without an answer."""


@dataclass(frozen=True)
class Received:
    """A webhook as it came; ``status`` is what it was answered."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        """The same for every attempt."""
        return self.headers["webhook-id"]

    @property
    def position(self) -> int:
        """Of the event in the log."""
        return int(self.data["position"])

    @property
    def data(self) -> dict[str, Any]:
        """What it says of the event."""
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found

    def verify(self, secret: str) -> None:
        """Raises WebhookVerificationError unless it is signed with the secret, as receivers do."""
        Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """``answer`` gives the status for a webhook, and may take its time."""

    def __init__(self, url: str, answer: Callable[[Received], int]) -> None:
        self.url = url
        self.answer = answer
        self._received: list[Received] = []
        self._lock = threading.Lock()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Notes a webhook, once it is known how it is answered."""
        status = self.answer(Received(headers, body, DROP))
        with self._lock:
            self._received.append(Received(headers, body, status))
        return status

    def received(self, status: int | None = None) -> Sequence[Received]:
        """All that came, in order of their answers; or those that were answered so."""
        with self._lock:
            return [each for each in self._received if status is None or each.status == status]


@contextmanager
def receiving(answer: Callable[[Received], int] = lambda _: 204) -> Iterator[Receiver]:
    """A receiver on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            if status == DROP:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook?of=tests", answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
