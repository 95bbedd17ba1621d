"""What a rebuild tells of itself while it works."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

PHASES = ("copying", "writing", "indexing", "clearing", "catching up", "swapping", "locked", "exchanged", "done")
"""The moments that a watcher is called at, in this order; "writing", "locked" and "exchanged" are in transactions."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: ``done`` events of the log, which ends at ``head``, and how many of them were set aside."""

    view: str
    phase: str
    done: int
    head: int
    skipped: int


def _ignore(_: object) -> None:
    return


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told: ``tell`` how far it is, ``at`` each phase's name as it begins (tests kill the process there)."""

    tell: Callable[[Progress], None] = _ignore
    at: Callable[[str], None] = _ignore
    sleep: Callable[[float], None] = time.sleep


NOBODY = Watcher()
