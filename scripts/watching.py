"""How far along something is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from scripts.context import Session

Advance = Callable[[int], None]
"""Takes how many more are done."""


@contextmanager
def watching(session: Session, total: int, what: str, *, every: int) -> Iterator[Advance]:
    """Shows how much of ``total`` is done; where there is no terminal, in a line each ``every`` of them."""
    if sys.stderr.isatty() and not session.quiet:
        # What is printed meanwhile goes through it where it would be drawn over it, and past it into files and pipes.
        with Progress(console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)
        return
    done = said = 0

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if done - said >= every and done < total:
            said = done
            session.say(f"{done:,} of {total:,} {what}")

    yield advance
