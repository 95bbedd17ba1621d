"""The log's pages: the events by position, as they come, and one by one as they are stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from api.audit import STREAM_PATTERN
from api.console.fields import is_number, is_position
from api.console.pages import Route, page
from api.console.session import Visitor
from api.event_stream import Places, stream_answer
from api.problems import Refusal, problem
from api.services import Services
from ledger.events import EVENT_TYPES
from ledger.storage.log import RecordedEvent
from ledger.transparency.leaf import event_leaf, leaf_data
from ledger.transparency.lines import recorded_at
from projections.log import LogPage, Wanted

LIMIT = 100
_TYPES = tuple(type.TOPIC for type in EVENT_TYPES)
_is_stream = re.compile(STREAM_PATTERN).fullmatch


class LogPages:
    """Pages about the log itself, for auditors and admins as over the API."""

    def __init__(self, services: Services, places: Places) -> None:
        self._log = services.log
        self._places = places

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield Route("/log", self.show_log, of_log=True)
        yield Route("/log/stream", self.follow_log, of_log=True)
        yield Route("/log/<position>", self.show_event, of_log=True)

    def show_log(self, visitor: Visitor) -> Response:
        """A page of the log, ``after`` or ``before`` a position; without one, its end."""
        asked = {name: request.args.get(name, "").strip() for name in ("type", "user", "stream")}
        faults = _faults(asked)
        if faults:
            found = LogPage([], 0, 0, self._log.page(0, 1).head)
        else:
            found = self._found(Wanted(asked["type"] or None, asked["stream"] or None, _integer(asked["user"])))
        given = {name: value for name, value in asked.items() if value}

        def at(**place: int) -> str:
            return f"?{urlencode({**given, **place})}"

        return page(
            "log.html",
            visitor=visitor,
            here="log",
            asked=asked,
            faults=faults,
            types=_TYPES,
            found=found,
            rows=[_row(event) for event in found.events],
            ways={
                "From the beginning": at(after=0) if found.after else None,
                "Earlier": at(before=found.after + 1) if found.after else None,
                "Later": None if found.ends_the_log or faults else at(after=found.last),
                "To the end": None if found.ends_the_log or faults else at(),
            },
        )

    def _found(self, wanted: Wanted) -> LogPage:
        after, before = request.args.get("after", ""), request.args.get("before", "")
        if is_position(after):
            return self._log.page(int(after), LIMIT, wanted)
        return self._log.page_before(int(before) if is_number(before) else None, LIMIT, wanted)

    def follow_log(self, visitor: Visitor) -> Response:  # noqa: ARG002  looked at already
        """The log as it grows (Server-Sent Events), for the page."""
        last = request.headers.get("Last-Event-ID") or request.args.get("after", "0")
        if not is_position(last) or int(last) > self._log.page(0, 1).head:
            return problem("no-such-position", "The log has no such position.")
        if not self._places.take():
            return problem("too-many-streams", "As many clients as this process has room for follow the log already.")
        return stream_answer(self._log, self._places, int(last), named=False)

    def show_event(self, visitor: Visitor, position: str) -> Response:
        """One event, to the byte."""
        asked = int(position) if is_position(position) else 0
        found = self._log.page(max(asked - 1, 0), 1)
        if not asked or not found.events:
            raise Refusal("no-such-position", f"The log has positions 1 to {found.head}.")
        [event] = found.events
        return page(
            "event.html",
            visitor=visitor,
            here="log",
            event=event,
            pretty=_pretty(event.body),
            leaf=leaf_data(event).decode(),
            leaf_hash=event_leaf(event).hex(),
            head=found.head,
        )


def _row(event: RecordedEvent) -> dict[str, object]:
    body = _members(event.body)
    who, why = (body.get(name) for name in ("actor", "cause"))
    who, why = who if isinstance(who, dict) else {}, why if isinstance(why, dict) else {}
    return {
        "position": event.position,
        "stream": event.stream,
        "version": event.version,
        "type": event.type,
        "moment": recorded_at(event.body) or "",
        "role": who.get("role", ""),
        "user": who.get("user"),
        "why": why.get("reason") or why.get("stripe_event_id") or why.get("request_id") or "",
    }


def _members(body: str) -> dict[str, Any]:
    """Those of a body that is an object. What somebody has written over an event has to be seen, whatever it is."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def _faults(asked: dict[str, str]) -> dict[str, str]:
    faults = {}
    if asked["type"] and asked["type"] not in _TYPES:
        faults["type"] = "There is no such type."
    if asked["user"] and not is_number(asked["user"]):
        faults["user"] = "A user's id is a number."
    if asked["stream"] and not _is_stream(asked["stream"]):
        faults["stream"] = "A stream is written as order-17."
    return faults


def _integer(text: str) -> int | None:
    return int(text) if text else None
