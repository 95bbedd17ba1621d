"""The query of the order list, and the link to its next page (RFC 8288)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from api.problems import Refusal
from api.queries import anything, checked, integer
from api.strict_json import MAX_INTEGER
from ledger.errors import UnknownStatus
from ledger.statuses import Status, parse_status

MAX_LIMIT = 1000
_CHECKS = {"status": anything, "limit": integer(1, MAX_LIMIT), "cursor": integer(1, MAX_INTEGER)}


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page of the list: orders in ``status`` with ids below ``cursor``; ``sent`` is what the client wrote."""

    status: Status | None
    limit: int
    cursor: int | None
    sent: Mapping[str, str]

    def next_link(self, path: str, cursor: int) -> str:
        """A Link header for the page that starts below ``cursor``."""
        query = urlencode({**self.sent, "cursor": str(cursor)})
        return f'<{path}?{query}>; rel="next"'


def page_query(arguments: MultiDict[str, str]) -> PageQuery:
    """Reads the query parameters; refuses what it does not know, rather than answering something else than asked."""
    sent = checked(arguments, _CHECKS)
    cursor = sent.get("cursor")
    return PageQuery(
        _status(sent.get("status")), int(sent.get("limit", MAX_LIMIT)), int(cursor) if cursor else None, sent
    )


def _status(text: str | None) -> Status | None:
    try:
        return None if text is None else parse_status(text)
    except UnknownStatus as error:
        raise Refusal("unknown-status", str(error), errors={"status": [str(error)]}) from error


FIRST_PAGE = page_query(MultiDict())
"""The page without a query, ready made: to parse nothing takes a tenth of such a request's time."""
