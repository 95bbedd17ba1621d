"""Reads the log in batches that fit a transaction and the memory, and the next pages while a batch is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ledger.storage.database import Bulk
from ledger.storage.log import RecordedEvent
from projections.bodies import facts_of, facts_of_lines
from projections.fold import Rows
from projections.view import EventFacts, View

_PAGE = 5_000
"""Positions of one page."""

_AHEAD = 8
"""Pages that are read while a batch is worked on and written."""

_CHARACTERS = 16_000_000
"""Characters of a batch, by and large."""

_SPARSE = 20
"""A view that few events concern notes how far it is after so many times the positions of a batch."""


class Page(NamedTuple):
    """The events that a view handles after one position and up to another, as lines (see ``Bulk.lines``)."""

    after: int
    upto: int
    lines: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The log after one position and up to another; ``fold`` makes the view's rows of it, or raises UNFOLDABLE."""

    after: int
    upto: int
    fold: Callable[[], Rows]


Batches = Callable[[Bulk, View, int, int], Iterator[Batch]]


def batches(bulk: Bulk, view: View, after: int, upto: int) -> Iterator[Batch]:
    """The log after one position and up to another, in batches that are folded by who asks for it."""
    pages: list[Page] = []
    events = size = 0
    for page in _pages(bulk, view, after, upto):
        pages.append(page)
        events += page.lines.count("\n") + 1
        size += len(page.lines)
        limit = bulk.size
        many = events >= limit or page.upto - pages[0].after >= limit * _SPARSE
        if many or size >= _CHARACTERS or page.upto == upto:
            yield Batch(pages[0].after, page.upto, partial(fold_pages, bulk, view, pages))
            pages, events, size = [], 0, 0


def fold_pages(bulk: Bulk, view: View, pages: Iterable[Page]) -> Rows:
    """The rows that these pages leave."""
    rows = Rows(view)
    for page in pages:
        rows.add(_facts(bulk, view, page))
    return rows


def read_pages(bulk: Bulk, view: View, after: int, upto: int) -> Iterator[Page]:
    """The log after one position and up to another, page by page, without reading ahead."""
    types = sorted(view.handlers)
    while after < upto:
        end = min(after + _PAGE, upto)
        yield Page(after, end, bulk.lines(after, end, types))
        after = end


def _facts(bulk: Bulk, view: View, page: Page) -> list[EventFacts]:
    facts = facts_of_lines(page.lines) if page.lines else []
    if facts is None:
        rows = bulk.page(page.after, page.upto, sorted(view.handlers))
        facts = [facts_of(RecordedEvent(*row)) for row in rows]
    return facts


def _pages(bulk: Bulk, view: View, after: int, upto: int) -> Iterator[Page]:
    types = sorted(view.handlers)

    def read(begin: int, end: int) -> Page:
        return Page(begin, end, bulk.lines(begin, end, types))

    coming: deque[Future[Page]] = deque()
    with ThreadPoolExecutor(1) as reader:
        try:
            while after < upto or coming:
                while after < upto and len(coming) < _AHEAD:
                    end = min(after + min(_PAGE, bulk.size), upto)
                    coming.append(reader.submit(read, after, end))
                    after = end
                yield coming.popleft().result()
        finally:
            reader.shutdown(wait=True, cancel_futures=True)
