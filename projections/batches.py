"""Reads the log in batches that fit a transaction and the memory, the next page while the last one is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ledger.storage.database import Bulk
from ledger.storage.tables import Row
from projections.view import View

_PAGE = 5_000
"""Positions of one page."""

_BYTES = 16_000_000
"""Characters of bodies in a batch, by and large."""

_SPARSE = 20
"""A view that few events concern notes how far it is after so many times the positions of a batch."""

Page = tuple[int, list[Row]]


def batches(bulk: Bulk, view: View, after: int, upto: int) -> Iterator[tuple[list[Row], int]]:
    """The log's rows that the view handles, after one position and up to another; with each batch, where it ends."""
    events: list[Row] = []
    begin, size = after, 0
    for end, rows in _pages(bulk, view, after, upto):
        events.extend(rows)
        size += sum([len(row[-1]) for row in rows])
        limit = bulk.size
        if len(events) >= limit or size >= _BYTES or end - begin >= limit * _SPARSE or end == upto:
            yield events, end
            events, begin, size = [], end, 0


def _pages(bulk: Bulk, view: View, after: int, upto: int) -> Iterator[Page]:
    types = sorted(view.handlers)

    def read(begin: int) -> Page:
        end = min(begin + min(_PAGE, bulk.size), upto)
        return end, bulk.page(begin, end, types)

    with ThreadPoolExecutor(1) as ahead:
        coming: Future[Page] | None = ahead.submit(read, after) if after < upto else None
        while coming is not None:
            end, rows = coming.result()
            coming = ahead.submit(read, end) if end < upto else None
            yield end, rows
