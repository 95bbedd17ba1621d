"""The README's tour, run as printed: every command's output is the one shown, but for what differs every time."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import pytest

from tests.support.cli import ROOT, environ_of, run_cli, served

DIFFERS = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "TIME"),
    (r"pi_sandbox_[0-9a-f]{24}_secret_[0-9a-f]{24}", "SECRET"),
    (r"\bpay-[0-9a-f]{24}\b", "PAID"),
    (r"\b[0-9a-f]{32}\b", "REQUEST"),
    (r"database \S+: sound", "DATABASE"),
)


def shown(readme: str) -> Iterator[tuple[str, str]]:
    """Each command of the console blocks, with the output under it."""
    for block in re.findall(r"```console\n(.*?)```", readme, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            last = next(index for index, line in enumerate(lines) if not line.endswith("\\"))
            yield "\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])


def plain(text: str) -> str:
    for pattern, name in DIFFERS:
        text = re.sub(pattern, name, text)
    return text.replace("\r", "").strip()


@pytest.mark.slow
def test_the_tour_shows_what_it_says(tmp_path: Path) -> None:
    environ = environ_of(LEDGER_VAR_DIR=str(tmp_path), LEDGER_DATABASE_URL=f"sqlite:///{tmp_path}/ledger.db")
    commands = list(shown((ROOT / "README.md").read_text(encoding="utf-8")))
    with served(environ=environ, log=tmp_path / "log") as server:
        for name, role in (("TOKEN", "customer"), ("STAFF", "staff")):
            user = "1" if name == "TOKEN" else "2"
            environ[name] = run_cli("token", "--user", user, "--role", role, environ=environ).stdout.strip()
        tool = tmp_path / "order-ledger"
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scripts.cli "$@"\n')
        tool.chmod(0o755)
        environ["PATH"] = f"{tmp_path}{os.pathsep}{environ['PATH']}"
        for command, output in commands[2:]:
            here = command.replace("localhost:8000", server.url.removeprefix("http://")).replace(
                "/tmp/", f"{tmp_path}/"
            )
            done = run(
                ["sh", "-c", here], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
            assert plain(done.stdout + done.stderr) == plain(output), command

    assert len(commands) >= 15
