"""How far along something is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.progress import Progress

from scripts.context import Session


def watch(session: Session, counts: Iterable[int], total: int, what: str, *, every: int) -> None:
    """Lets ``counts`` run to its end, each being so many more of ``total`` done; a line each ``every`` of them."""
    if sys.stderr.isatty() and not session.quiet:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(what, total=total)
            for count in counts:
                progress.advance(task, count)
        return
    done = said = 0
    for count in counts:
        done += count
        if done - said >= every and done < total:
            said = done
            session.say(f"{done:,} of {total:,} {what}")
