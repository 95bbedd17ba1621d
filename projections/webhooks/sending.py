"""Sends one webhook: to the address that was looked at, once, without following anything."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from threading import Event, Timer
from urllib.parse import SplitResult

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from projections.webhooks.addresses import ForbiddenTarget, Resolver, allowed_address, check_url, port_of, resolve

TIMEOUT = 15.0
_FAILURES = (urllib3.exceptions.HTTPError, HTTPException, ForbiddenTarget, OSError, ValueError)
"""What can come of a receiver. HTTPException: its answer is none; ValueError: its name is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: a status, or (0) why there is none."""

    status: int
    error: str = ""


Send = Callable[[str, Mapping[str, str], bytes], Answer]
"""Posts a body with headers to a URL, and raises nothing that a receiver could bring about."""


def sender(*, private: bool, resolver: Resolver = resolve, timeout: float = TIMEOUT) -> Send:
    """What posts webhooks; ``private``: to any address, also without TLS. ``timeout`` of it all, in seconds."""

    def send(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            parts = check_url(url, private=private)
            # Connected to as it was looked at: a name that is asked for again may lead elsewhere by then.
            address = allowed_address(str(parts.hostname), port_of(parts), resolver, private=private)
            return Answer(_post(_connection(parts, address, timeout), parts, headers, body, timeout))
        except _FAILURES as error:
            # The kind of the error, and the sentence only where it is ours: others' repeat what they were told.
            return Answer(0, str(error) if isinstance(error, ForbiddenTarget) else type(error).__name__)

    return send


def _connection(parts: SplitResult, address: str, timeout: float) -> HTTPConnection:
    if parts.scheme == "http":
        return HTTPConnection(address, port_of(parts), timeout=timeout)
    name = str(parts.hostname)
    return HTTPSConnection(address, port_of(parts), timeout=timeout, server_hostname=name, assert_hostname=name)


def _post(
    connection: HTTPConnection, parts: SplitResult, headers: Mapping[str, str], body: bytes, timeout: float
) -> int:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with _ended_after(timeout, connection):
        connection.request("POST", target, body, {**headers, "Host": parts.netloc}, preload_content=False)
        return connection.getresponse().status  # whatever it goes on to say


@contextmanager
def _ended_after(seconds: float, connection: HTTPConnection) -> Iterator[None]:
    """Ends the connection by then: a time-out of each read does not, as a receiver may answer byte by byte."""
    late = Event()

    def end() -> None:
        late.set()
        if connection.sock is not None:
            with suppress(OSError):  # it has ended by itself
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():  # what was cut off can look whole
        raise TimeoutError
