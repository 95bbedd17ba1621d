"""Runs the command line and servers as users do: real processes, with an environment of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLI = (sys.executable, "-m", "scripts.cli")
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


def environ_of(**settings: str) -> dict[str, str]:
    """The environment of this process with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "STRIPE_"))}
    return kept | settings


def run_cli(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """One run of order-ledger."""
    return subprocess.run(
        (*CLI, *arguments), env=dict(environ), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@dataclass
class Server:
    """A running ``order-ledger serve``."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def raw(self, request: bytes, *, timeout: float = 30) -> bytes:
        """Sends bytes, and returns all that comes back until the server closes."""
        with socket.create_connection(self.address, timeout=timeout) as connection:
            connection.sendall(request)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return received

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(SECONDS)


def launch(*options: str, environ: Mapping[str, str], log: Path) -> Server:
    """A server on a free port, once it answers."""
    command = (*CLI, "serve", "--bind", "127.0.0.1:0", *options)
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=dict(environ), cwd=ROOT, stdout=sink, stderr=sink)
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith("Listening on "):
                return Server(process, line.removeprefix("Listening on "), log)
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the server did not start, or ended with {process.wait()}:\n{log.read_text()}")


@contextmanager
def served(*options: str, environ: Mapping[str, str], log: Path) -> Iterator[Server]:
    """A server on a free port, once it answers; stopped in the end if it still runs."""
    running = launch(*options, environ=environ, log=log)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
