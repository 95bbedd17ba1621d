"""The gunicorn worker: what is not even HTTP is answered as a problem document too, never as an HTML page."""

from __future__ import annotations

import errno
import json
import re
import select
import socket
from collections.abc import Iterable
from http import HTTPStatus
from threading import Lock
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from gunicorn.http.errors import (
    ConfigurationProblem,
    ExpectationFailed,
    ForbiddenProxyRequest,
    InvalidHeader,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn, ThreadWorker
from werkzeug.exceptions import BadRequest

from api.problem_types import PROBLEM_TYPES
from api.request_ids import HEADER, fresh_request_id
from api.security_headers import NOTHING_ALLOWED, SECURITY_HEADERS

SILENCE_SECONDS = 20.0
"""How long a client may stay silent in the middle of a request before the connection is closed."""

LINGER_MS = 1
"""How long a thread waits for the next request of the client it has just answered, when no other waits for a thread."""

_OUR_FAULT = (ConfigurationProblem, InvalidResponseHeader, InvalidResponseHeaderName)
_STATUS = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
_SLUGS = {HTTPStatus.BAD_REQUEST: "bad-request", HTTPStatus.INTERNAL_SERVER_ERROR: "internal-error"}

_is_host = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(:[0-9]*)?").fullmatch


def problem_response(status: HTTPStatus, request_id: str) -> bytes:
    """A whole HTTP/1.1 response with a problem document; the connection ends with it."""
    slug = _SLUGS.get(status)
    document: dict[str, object] = {"type": "about:blank", "title": status.phrase, "status": int(status)}
    document["detail"] = f"{status.description or status.phrase}."
    if slug is not None:
        kind = PROBLEM_TYPES[slug]
        document |= {"type": f"/problems/{slug}", "title": kind.title, "detail": kind.explanation}
    body = json.dumps(document | {"requestId": request_id}, separators=(",", ":")).encode()
    security = "".join(f"{name}: {value}\r\n" for name, value in (*SECURITY_HEADERS, NOTHING_ALLOWED))
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{HEADER}: {request_id}\r\n{security}\r\n"
    )
    return head.encode("ascii") + body


def malformed_bodies_refused(app: WSGIApplication) -> WSGIApplication:
    """Tells the application that a body is malformed in its own words; it knows nothing of gunicorn's."""

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        environ["wsgi.input"] = _CheckedInput(environ["wsgi.input"], int(length))
        return app(environ, start_response)

    return checked


class _CheckedInput:
    """A body that is whole or refused: one that ends before its announced length could pass for another one."""

    def __init__(self, stream: Any, length: int) -> None:
        self._stream = stream
        self._missing = length

    def read(self, size: int = -1) -> bytes:
        try:
            data = bytes(self._stream.read(size))
        except (ParseException, NoMoreData) as error:
            raise BadRequest("The body is cut short or its chunks are malformed.") from error
        self._missing -= len(data)
        if self._missing > 0 and (size < 0 or (size and not data)):
            raise BadRequest("The body is shorter than its Content-Length.")
        return data


class _ImpatientSocket(socket.socket):
    """A client's socket that gives up on silence, where gunicorn would keep a thread waiting for ever."""

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(SILENCE_SECONDS if flag else 0.0)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        try:
            return super().recv(bufsize, flags)
        except TimeoutError as error:
            raise NoMoreData from error  # gunicorn's word for a client that has gone

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        try:
            super().sendall(data, flags)
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not take its answer") from error


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread with our manners, and with threads that stay with a client who keeps asking."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._queued = 0  # connections that wait for a thread
        self._counting = Lock()

    def enqueue_req(self, conn: TConn) -> None:
        """Hands a connection to a thread."""
        if not isinstance(conn.sock, _ImpatientSocket):
            conn.sock = _ImpatientSocket(fileno=conn.sock.detach())
        with self._counting:
            self._queued += 1
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """Serves a connection until its client pauses; then it goes back to the main thread, to wait for more.

        The way there and back costs as much as a small request.
        """
        with self._counting:
            self._queued -= 1
        kept = super().handle(conn)
        while kept is True and self._asks_again(conn):
            kept = super().handle(conn)
        return kept

    def _asks_again(self, conn: TConn) -> bool:
        # Others that wait come first, pipelined requests included, which the main thread knows how to find.
        if self._queued or not self.alive or conn.is_http2 or conn.parser.unreader.buf.getvalue():
            return False
        asking = select.poll()
        asking.register(conn.sock, select.POLLIN)
        return bool(asking.poll(LINGER_MS))

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answers a request; refuses one without a sane Host, as RFC 9112 (section 3.2) wants and gunicorn does not."""
        hosts = [value for name, value in req.headers if name == "HOST"]
        if not all(map(_is_host, hosts)) or (not hosts and req.version >= (1, 1)):
            raise InvalidHeader("HOST")
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:  # noqa: ARG002
        """Answers a request that never became one, or that the application let fall."""
        request_id = fresh_request_id()
        if isinstance(exc, ParseException) and not isinstance(exc, _OUR_FAULT):
            status = next((status for kind, status in _STATUS.items() if isinstance(exc, kind)), HTTPStatus.BAD_REQUEST)
            self.log.info("refused malformed HTTP: %s (request %s)", type(exc).__name__, request_id)
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.error("request %s failed", request_id, exc_info=exc)
        try:
            client.sendall(problem_response(status, request_id))
        except OSError as error:
            self.log.debug("the client had gone before its answer: %s", error)
