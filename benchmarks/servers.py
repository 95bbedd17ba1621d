"""Real servers: gunicorn in processes of its own, and what its workers cost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
import psutil

SECRET = "the benchmarks' own secret, known to everyone who reads them"
THREADS = 16
ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 60
_MIB = 1024 * 1024

LEDGER = ("scripts.cli", "serve")
HELLO = ("benchmarks.peers.serve", "hello")
CRUD = ("benchmarks.peers.serve", "crud")


def token(user: int, role: str = "customer") -> str:
    """A bearer token that all servers accept, good until 2100."""
    return jwt.encode({"sub": str(user), "role": role, "exp": 4102444800}, SECRET, algorithm="HS256")


@dataclass(frozen=True)
class Memory:
    """What a worker holds, in MiB; ``uss`` is what would come back if it ended."""

    rss: float
    uss: float


class Server:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], url: str, workers: int) -> None:
        self.url = url
        until = time.monotonic() + _START_SECONDS
        while len(found := psutil.Process(process.pid).children()) < workers:
            if time.monotonic() > until:
                raise AssertionError(f"{url} has {len(found)} workers of {workers}")
            time.sleep(0.05)
        self._workers = found

    def cpu_seconds(self) -> list[float]:
        """What each worker has used so far."""
        return [sum(worker.cpu_times()[:2]) for worker in self._workers]

    def memory(self) -> list[Memory]:
        """What each worker holds now."""
        found = [worker.memory_full_info() for worker in self._workers]
        return [Memory(round(each.rss / _MIB, 1), round(each.uss / _MIB, 1)) for each in found]


@contextmanager
def serving(
    module: Sequence[str], database_url: str, var_dir: Path, *, workers: int = 2, pinned: bool = True
) -> Iterator[Server]:
    """A server on a free port, once it listens; stopped at the end. ``pinned``: each worker is kept to a CPU."""
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env=_environ(database_url, var_dir, workers) | {"LEDGER_PIN_WORKERS": "yes" if pinned else "no"},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process, _listening(process), workers)
    finally:
        process.terminate()
        process.wait(_START_SECONDS)


def _environ(database_url: str, var_dir: Path, workers: int) -> dict[str, str]:
    # All settings but these are the defaults: what is measured is what users get on a machine that runs only this.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "STRIPE_"))}
    return kept | {
        "LEDGER_DATABASE_URL": database_url,
        "LEDGER_VAR_DIR": str(var_dir),
        "LEDGER_JWT_SECRET": SECRET,
        "LEDGER_BIND": "127.0.0.1:0",
        "LEDGER_WORKERS": str(workers),
        "LEDGER_THREADS": str(THREADS),
        "LEDGER_LOG_LEVEL": "warning",
    }


def _listening(process: subprocess.Popen[str]) -> str:
    """Waits for the line that says where, and keeps reading behind it so that the pipe never fills."""
    url, said, listens = "", list[str](), threading.Event()

    def follow() -> None:
        nonlocal url
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("Listening on "):
                url = line.removeprefix("Listening on ").strip()
                listens.set()
        listens.set()

    threading.Thread(target=follow, daemon=True).start()
    if not listens.wait(_START_SECONDS) or not url:
        raise AssertionError(f"{process.args!r} did not start:\n{''.join(said)}")
    return url
