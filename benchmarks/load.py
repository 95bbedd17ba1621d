"""Load: one run of wrk, what it measured, and how evenly the workers shared the work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import Server
from ledger.errors import SettingsError

_SCRIPTS = Path(__file__).parent / "wrk"
_THREADS = 2
_PATIENCE = 10
"""Seconds until an answer counts as missing; slower ones than usual belong into the p99."""
BALANCED = 0.6
"""A round is balanced when no worker had more than this share of the CPU time."""


@dataclass(frozen=True)
class Request:
    """What is asked: a script of ``wrk/`` with its arguments, the path, and whose token goes with it."""

    script: str
    path: str
    token: str | None = None
    arguments: Sequence[str] = ()


@dataclass(frozen=True)
class LoadRound:
    """One run."""

    per_second: float
    p50_ms: float
    p99_ms: float
    largest_share: float
    cpu_per_request_us: float

    @property
    def balanced(self) -> bool:
        """Whether the workers shared the connections about evenly."""
        return self.largest_share <= BALANCED


def require_wrk() -> str:
    """The path of wrk, installed with apt-get where that is possible; raises SettingsError."""
    found = shutil.which("wrk")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--yes", "wrk"]):
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(command, check=False, capture_output=True, env=environ)
        found = shutil.which("wrk")
    if found is None:
        raise SettingsError("the HTTP benchmarks need wrk: on Debian and Ubuntu, apt-get install wrk")
    return found


def load(server: Server, request: Request, *, connections: int, seconds: float) -> LoadRound:
    """Runs wrk for so long, with so many keep-alive connections. An answer that is no success fails the benchmark."""
    headers = ["-H", f"Authorization: Bearer {request.token}"] if request.token else []
    command = [
        require_wrk(),
        *("-t", str(min(_THREADS, connections)), "-c", str(connections), "-d", f"{max(1, round(seconds))}s"),
        *("--timeout", f"{_PATIENCE}s"),
        *("-s", str(_SCRIPTS / f"{request.script}.lua"), *headers, server.url + request.path),
        *(["--", *request.arguments] if request.arguments else []),
    ]
    before = server.cpu_seconds()
    environ = {**os.environ, "WRK_DIRECTORY": str(_SCRIPTS)}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    time.sleep(0.05)  # the last requests of the run are still being answered
    used = [after - earlier for earlier, after in zip(before, server.cpu_seconds(), strict=True)]
    line = next((line for line in result.stdout.splitlines() if line.startswith("JSON ")), None)
    if line is None:
        raise AssertionError(f"wrk failed: {result.stdout}{result.stderr}")
    said = json.loads(line.removeprefix("JSON "))
    failures = {name: said[name] for name in ("refused", "connect", "read", "write", "timeout") if said[name]}
    if failures:
        raise AssertionError(f"{request.script} {request.path}: {failures} of {said['requests']} requests failed")
    return LoadRound(
        said["requests"] / said["seconds"],
        said["p50_ms"],
        said["p99_ms"],
        max(used) / (sum(used) or 1.0),
        sum(used) / max(1, said["requests"]) * 1e6,
    )
