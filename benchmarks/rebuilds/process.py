"""One rebuild in a process of its own, so that the memory it takes is the rebuild's; prints what it took as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from benchmarks.servers import ROOT
from ledger.storage import open_database
from projections.rebuild import rebuild
from projections.store import VIEWS
from projections.watcher import Watcher

VIEW = "orders"


class Took(NamedTuple):
    """What a rebuild took; ``phases`` are when each began, by the clock that all processes of the machine share."""

    events: int
    seconds: float
    peak_mib: float
    phases: list[tuple[float, str]]

    def phases_between(self, begun: float, ended: float) -> list[str]:
        """What it was at in a stretch of time."""
        ends = [*(moment for moment, _ in self.phases[1:]), float("inf")]
        return [name for (moment, name), end in zip(self.phases, ends, strict=True) if moment <= ended and end >= begun]


def started(url: str) -> subprocess.Popen[str]:
    """The process of a rebuild that has begun."""
    command = [sys.executable, "-m", "benchmarks.rebuilds.process", url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> Took:
    """Waits for it."""
    told, _ = process.communicate()
    if process.returncode:
        raise AssertionError(f"the rebuild ended with {process.returncode}")
    return Took(**json.loads(told))


def _peak_mib() -> float:
    # Not getrusage: what it says of a process begins with its parent's.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return round(int(found[1]) / 1024, 1)


def main(url: str) -> None:
    """Rebuilds the order view of the ledger at this URL."""
    database = open_database(url, timeout=60)
    (view,) = (each for each in VIEWS if each.name == VIEW)
    before = perf_counter()
    phases = [(before, "starting")]

    def entered(phase: str) -> None:
        if phase != phases[-1][1]:
            phases.append((perf_counter(), phase))

    done = rebuild(database, view, VIEWS, watcher=Watcher(tell=lambda progress: entered(progress.phase)))
    ended = perf_counter()
    took = Took(done.done, ended - before, _peak_mib(), [*phases, (ended, "done")])
    database.close()
    print(json.dumps(took._asdict()))


if __name__ == "__main__":
    main(sys.argv[1])
