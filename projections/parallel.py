"""Folds the log in processes of their own, each another part of it; one process writes what they make, in order.

A part needs nothing of those before it: rows that it makes and rows of earlier parts that it changes are kept apart. So
only the one who writes has to be careful, and a worker that is left alone just ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Self

from ledger.errors import StorageUnavailable
from ledger.storage import Database
from ledger.storage.database import Bulk
from projections.batches import Batch, fold_pages, read_pages
from projections.fold import Rows
from projections.view import View

_POSITIONS = 20_000
"""Positions of one part, at most."""


_BROKEN = "A worker process has ended in the middle of its work."


class Workers:
    """So many processes, each with a database that ``connect``, which has to be picklable, opens for it."""

    def __init__(self, connect: Callable[[], Database], count: int) -> None:
        self._count = count
        self._pool = ProcessPoolExecutor(
            count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(connect,)
        )

    def batches(self, bulk: Bulk, view: View, after: int, upto: int) -> Iterator[Batch]:
        """The log after one position and up to another, in batches that the processes fold ahead."""
        coming: deque[tuple[int, int, Future[Rows]]] = deque()
        try:
            while after < upto or coming:
                while after < upto and len(coming) < 2 * self._count:
                    end = min(after + min(_POSITIONS, bulk.size), upto)
                    coming.append((after, end, self._pool.submit(_fold, view, after, end)))
                    after = end
                begin, end, future = coming.popleft()
                yield Batch(begin, end, partial(_result, future))
        except BrokenExecutor as error:
            raise StorageUnavailable(_BROKEN) from error
        finally:
            for _, _, future in coming:
                future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[Rows]) -> Rows:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise StorageUnavailable(_BROKEN) from error


class _Worker:
    """What a worker process has."""

    bulk: Bulk
    held = ExitStack()


def _begin(connect: Callable[[], Database]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; the parent ends the others
    Thread(target=_end_with_parent, daemon=True).start()
    _Worker.bulk = _Worker.held.enter_context(connect().bulk(None))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _fold(view: View, after: int, upto: int) -> Rows:
    return fold_pages(_Worker.bulk, view, read_pages(_Worker.bulk, view, after, upto))
