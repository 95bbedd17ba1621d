"""Reads the log in batches that fit a transaction and the memory, and the next pages while a batch is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ledger.storage.database import Bulk
from projections.view import View

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


def batches(bulk: Bulk, view: View, after: int, upto: int) -> Iterator[list[Page]]:
    """The log after one position and up to another, in batches of pages."""
    batch: list[Page] = []
    events = size = 0
    for page in _pages(bulk, view, after, upto):
        batch.append(page)
        events += page.lines.count("\n") + 1
        size += len(page.lines)
        limit = bulk.size
        many = events >= limit or page.upto - batch[0].after >= limit * _SPARSE
        if many or size >= _CHARACTERS or page.upto == upto:
            yield batch
            batch, events, size = [], 0, 0


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
