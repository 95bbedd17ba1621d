"""Sends one webhook: to the address that was looked at, once, without following anything."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Event, Timer
from time import monotonic
from urllib.parse import SplitResult

from projections.webhooks.addresses import ForbiddenTarget, Resolver, allowed_address, check_url, port_of, resolve

TIMEOUT = 15.0
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
            address = allowed_address(str(parts.hostname), port_of(parts), resolver, private=private)
            return Answer(_post(_Connection(parts, address, context, deadline), parts, headers, body))
        except _FAILURES as error:
            # The kind of the error, and the sentence only where it is ours: others' repeat what they were told.
            return Answer(0, str(error) if isinstance(error, ForbiddenTarget) else type(error).__name__)

    return send


class _Connection(HTTPConnection):
    """Goes to an address, whatever the name of the host leads to, and has ended by the deadline (``monotonic``)."""

    def __init__(self, parts: SplitResult, address: str, context: ssl.SSLContext, deadline: float) -> None:
        super().__init__(address, port_of(parts))
        self._parts = parts
        self._context = context
        self._deadline = deadline

    def connect(self) -> None:
        """Connects and, for https, shakes hands: with the name's certificate, in the time that is left."""
        self.sock = socket.create_connection((self.host, self.port), timeout=self._left())
        if self._parts.scheme == "https":
            self.sock.settimeout(self._left())  # of the whole handshake, unlike that of a read
            name = str(self._parts.hostname).removesuffix(".")  # which makes a name absolute, and is no part of it
            self.sock = self._context.wrap_socket(self.sock, server_hostname=name)

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Ends what is connected by then: a time-out of each read does not, as a receiver may answer byte by byte."""
        late, connected = Event(), self.sock

        def end() -> None:
            late.set()
            with suppress(OSError):  # it has ended by itself
                connected.shutdown(socket.SHUT_RDWR)

        timer = Timer(self._left(), end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except _FAILURES as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        if late.is_set():  # what was cut off can look whole
            raise TimeoutError

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _post(connection: _Connection, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> int:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with connection.in_time():
            connection.request("POST", target, body, {**headers, "Host": parts.netloc})
            with connection.getresponse() as response:
                return response.status  # whatever it goes on to say
    finally:
        connection.close()
