"""The HTTP of the tests' own Stripe: requests with form bodies, answers in JSON, connections that can break."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Seen:
    """A request as it came in, the API key left out."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def key(self) -> str | None:
        """Its idempotency key."""
        return self.headers.get("Idempotency-Key")


Handle = Callable[[Seen, str | None], tuple[int, dict[str, Any], dict[str, str]] | None]
"""Answers (status, body, headers) to a request with an Authorization header; ``None`` drops the connection."""


class Http(ThreadingHTTPServer):
    """Listens on loopback (port 0: a free one), a thread a connection; closing it breaks the connections, too."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, port: int, handle: Handle) -> None:
        self.handle = handle
        self._connections: set[Any] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._connections):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up break their connections; what is asserted is in what they got."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Http

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library names it so
        """Nothing: the tests look at ``requests``."""

    def _answer(self, query: str) -> None:
        path = urlsplit(self.path).path
        params = parse_qsl(query, keep_blank_values=True)
        headers = {name.title(): value for name, value in self.headers.items() if name.title() != "Authorization"}
        seen = Seen(self.command, path, dict(params), headers)
        answer = self.server.handle(seen, self.headers.get("Authorization"))
        if answer is None:
            self.close_connection = True
            return
        status, body, extra = answer
        payload = json.dumps(body, indent=2).encode()
        self.send_response(status)
        for name, value in (extra | {"Content-Type": "application/json", "Content-Length": str(len(payload))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)


def serve(http: Http) -> Http:
    """Answers from now on, in threads of its own."""
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    return http
