"""The HTTP client under the ``stripe`` library: a call, with all its attempts, ends within a given time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
import stripe
import urllib3

_LONGEST_PAUSE = 1.0
"""Seconds that the library waits at most before the second of two retries."""
_CHUNK = 65536
_TRANSIENT = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


class BoundedClient(stripe.HTTPClient):
    """Gives each attempt what is left of the call's time: the library's own limit is for each single read.

    A call may last a second longer, which is the library's pause between two attempts. What is not bounded is how long
    the system takes to resolve a host's name, and how slowly headers may come.
    """

    name = "requests"

    def __init__(self, seconds: float, timer: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._timer = timer
        self._thread = threading.local()  # a session is not safe to share

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """All requests of this thread within the block share one budget of time."""
        self._thread.deadline = self._timer() + self._seconds
        yield

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_usage: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        """One attempt: body, status and headers. Raises stripe.APIConnectionError."""
        left = self._thread.deadline - self._timer()
        if left <= 0:
            raise _unreachable("no time is left")
        try:
            with self._session().request(
                method,
                url,
                headers=dict(headers or {}),
                data=post_data,
                # A host's addresses are tried one after the other, each with the whole time for connecting.
                timeout=urllib3.Timeout(total=left, connect=left / 4),  # type: ignore[arg-type]  # handed on as it is
                stream=True,
                allow_redirects=False,
                verify=stripe.ca_bundle_path,
            ) as response:
                return self._read(response), response.status_code, response.headers
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # Only the kind of the error: its text has the address, and may have more.
            raise _unreachable(type(error).__name__, should_retry=self._may_retry(error)) from None

    def _read(self, response: requests.Response) -> str:
        body = b""
        while piece := response.raw.read1(_CHUNK, decode_content=True):  # what is there: requests waits for all of it
            body += piece
            if self._timer() > self._thread.deadline:
                raise requests.Timeout
        return body.decode(errors="replace")

    def _may_retry(self, error: Exception) -> bool:
        in_time = self._timer() + _LONGEST_PAUSE < self._thread.deadline
        return in_time and isinstance(error, _TRANSIENT) and not isinstance(error, requests.exceptions.SSLError)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._thread, "session", None)
        if session is None:
            session = self._thread.session = requests.Session()
            session.auth = _as_it_is  # without one, the entry of a .netrc would take the place of the API key
        return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _unreachable(reason: str, *, should_retry: bool = False) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(reason, should_retry=should_retry)  # type: ignore[no-untyped-call]
