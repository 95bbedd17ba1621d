"""What the numbers were measured on: enough to compare two runs, and nothing that tells whose machine it was."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.databases import postgres_version

_PACKAGES = ("eventsourcing", "Flask", "gunicorn", "marshmallow", "psycopg", "PyJWT", "SQLAlchemy", "Werkzeug")


def machine(server_url: str | None) -> dict[str, Any]:
    """Cores, memory, kernel, and the versions of everything that matters."""
    facts: dict[str, Any] = {
        "commit": _commit(),
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "load_average_before": round(os.getloadavg()[0], 2),
    }
    if server_url is not None:
        facts["postgresql"] = postgres_version(server_url)
    facts["packages"] = {name: found for name in _PACKAGES if (found := _version(name))}
    return facts


def _commit() -> str:
    """The checkout's commit, with a plus sign when something in it was changed."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"
