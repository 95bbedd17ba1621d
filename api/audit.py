"""The log itself, for auditors: page by page, or as it grows."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from api import audit_doc, openapi
from api.callers import Callers
from api.event_stream import Places, stream_answer
from api.preconditions import is_not_modified
from api.problems import Refusal, problem
from api.queries import checked, integer, matching, one_of
from api.services import Services
from api.strict_json import MAX_INTEGER
from ledger.events import EVENT_TYPES
from projections.log import LogPage, Wanted, rendered

PATH = "/audit/events"
MAX_LIMIT = 1000
STREAM_PATTERN = r"[a-z]+-[1-9][0-9]{0,15}"
_AFTER = integer(0, MAX_INTEGER)
_CHECKS = {
    "after": _AFTER,
    "limit": integer(1, MAX_LIMIT),
    "type": one_of([type.TOPIC for type in EVENT_TYPES]),
    "user": integer(1, MAX_INTEGER),
    "stream": matching(STREAM_PATTERN, "the name of a stream, such as order-17"),
}
_LAST_EVENT_ID = "Last-Event-ID"


class AuditRoutes:
    """Reads of the log. Who follows it takes one of the ``places``."""

    def __init__(self, services: Services, callers: Callers, places: Places) -> None:
        self._log = services.log
        self._callers = callers
        self._places = places

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint("Audit", "The log itself. Whoever reads it is logged.")
        openapi.operation(routes, PATH, "GET", self.get_events, **audit_doc.EVENTS)
        openapi.operation(routes, f"{PATH}/stream", "GET", self.follow_events, **audit_doc.STREAM)
        return routes

    def get_events(self) -> Response:
        """Events of the log, in order of position

        Positions begin at 1 and have no gaps. As long as the Link header leads on, there are more: of a filter that
        matches little, a page may be short or even empty before that. Bodies are what is stored, to the byte; one that
        was written over in the database, and is no JSON object any more, is there as a string.
        """
        self._callers.auditor()
        sent = checked(request.args, _CHECKS)
        user = sent.get("user")
        wanted = Wanted(sent.get("type"), sent.get("stream"), int(user) if user else None)
        after = int(sent.get("after", 0))
        page = self._log.page(after, int(sent.get("limit", MAX_LIMIT)), wanted)
        if after > page.head:
            return _ahead(after, page)
        return _page_answer(page, sent)

    def follow_events(self) -> Response:
        """The log as it grows (Server-Sent Events)

        First what there is after `after` or the Last-Event-ID, then every event when it is recorded: each once, in
        order of position, which is the event's `id`. The stream ends after some minutes; clients reconnect by
        themselves where it ended.
        """
        self._callers.auditor()
        after = _last_seen()
        page = self._log.page(after, 1)
        if after > page.head:
            return _ahead(after, page)
        if not self._places.take():
            return problem("too-many-streams", "As many clients as this process has room for follow the log already.")
        return stream_answer(self._log, self._places, after)


def _page_answer(page: LogPage, sent: dict[str, str]) -> Response:
    body = f"[{','.join(map(rendered, page.events))}]".encode()
    headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"', "Cache-Control": "private, no-cache"}
    if not page.ends_the_log:
        headers["Link"] = f'<{PATH}?{urlencode({**sent, "after": str(page.last)})}>; rel="next"'
    known = request.environ.get("HTTP_IF_NONE_MATCH")
    if known is not None and is_not_modified(known, headers["ETag"]):
        return Response(status=304, headers=headers)
    return Response(body, 200, headers, content_type="application/json")


def _ahead(after: int, page: LogPage) -> Response:
    return problem("no-such-position", f"The log ends at position {page.head}: there is no position {after}.")


def _last_seen() -> int:
    """The position that the client has seen last: a client that reconnects says so in a header."""
    sent = checked(request.args, {"after": _AFTER})
    last = request.headers.get(_LAST_EVENT_ID)
    if last is not None and _AFTER(last):
        raise Refusal("invalid-header", f"{_LAST_EVENT_ID} must be the position of an event.")
    return int(sent.get("after", "0") if last is None else last)
