"""Sends one webhook: to the address that was looked at, once, without following anything."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from io import BufferedReader
from time import monotonic
from typing import Any
from urllib.parse import SplitResult

from projections.webhooks.addresses import ForbiddenTarget, Resolver, allowed_addresses, check_url, port_of, resolve

TIMEOUT = 15.0
MOST_READ = 100_000
"""Bytes of an answer that are read at most, to get at its status."""

_FAILURES = (HTTPException, ForbiddenTarget, OSError, ValueError)
"""What can come of a receiver. HTTPException: its answer is none; ValueError: its name is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: a status, or (0) why there is none."""

    status: int
    error: str = ""


Send = Callable[[str, Mapping[str, str], bytes], Answer]
"""Posts a body with headers to a URL, and raises nothing that a receiver could bring about."""


def sender(*, private: bool, resolver: Resolver = resolve, timeout: float = TIMEOUT) -> Send:
    """What posts webhooks; ``private``: to any address, also without TLS. ``timeout`` of it all, in seconds: only
    looking a name up, which the system bounds, may take longer."""
    context = ssl.create_default_context()

    def send(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        deadline = monotonic() + timeout
        try:
            parts = check_url(url, private=private)
            # Connected to as it was looked at: a name that is asked for again may lead elsewhere by then.
            addresses = allowed_addresses(str(parts.hostname), port_of(parts), resolver, private=private)
            return Answer(_Connection(parts, addresses, context, deadline).post(headers, body))
        except _FAILURES as error:
            # The kind of the error, and the sentence only where it is ours: others' repeat what they were told.
            return Answer(0, str(error) if isinstance(error, ForbiddenTarget) else type(error).__name__)

    return send


class _Connection(HTTPConnection):
    """Goes to one of the addresses, whatever the name of the host leads to by then, and has ended by the deadline
    (``monotonic``)."""

    def __init__(self, parts: SplitResult, addresses: Sequence[str], context: ssl.SSLContext, deadline: float) -> None:
        super().__init__(str(parts.hostname), port_of(parts))
        self._addresses = addresses
        self._parts = parts
        self._context = context
        self._deadline = deadline

    def post(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status of what is answered. Nothing is left open, whatever comes of it."""
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        try:
            self.request("POST", target, body, {**headers, "Host": self._parts.netloc})
            with self.getresponse() as response:
                return response.status  # whatever it goes on to say
        finally:
            self.close()

    def connect(self) -> None:
        """Connects and, for https, shakes hands: with the name's certificate, in the time that is left."""
        self.sock = self._reached()
        if self._parts.scheme == "https":
            self.sock.settimeout(self._left())  # of the whole handshake, unlike that of a read
            name = str(self._parts.hostname).removesuffix(".")  # which makes a name absolute, and is no part of it
            self.sock = self._context.wrap_socket(self.sock, server_hostname=name)
        self.sock.settimeout(self._left())  # of writing; reading has its own

    def _reached(self) -> socket.socket:
        """The first of the addresses that answers; each is given its share of the time, as one may be silent.

        Raises what the first one brought about, which the system prefers, when none does.
        """
        failures: list[OSError] = []
        for address in self._addresses:
            try:
                share = self._left() / (len(self._addresses) - len(failures))
                return socket.create_connection((address, self.port), timeout=share)
            except OSError as error:
                failures.append(error)
        raise failures[0]

    def response_class(self, connected: socket.socket, **options: Any) -> HTTPResponse:  # type: ignore[override]
        """The answer, as far as it comes in the time that is left."""
        return HTTPResponse(_InTime(connected, self._left), **options)  # type: ignore[arg-type]

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _InTime(socket.SocketIO):
    """Reads in the time that is left, and no more than MOST_READ: a time-out of each read alone never ends who answers
    byte by byte, and nothing else who goes on and on with ``100 Continue``."""

    def __init__(self, connected: socket.socket, left: Callable[[], float]) -> None:
        super().__init__(connected, "rb")
        self._connected, self._left, self._room = connected, left, MOST_READ

    def readinto(self, buffer: Any) -> int | None:
        if self._room <= 0:
            raise HTTPException("the answer has no end")
        self._connected.settimeout(self._left())
        count = super().readinto(buffer)
        self._room -= count or 0
        return count

    def makefile(self, _mode: str) -> BufferedReader:
        """As HTTPResponse asks a socket for it."""
        return BufferedReader(self)
