"""A real server: gunicorn behind a socket, started by the command line as an operator would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import psutil
import requests

SECRET = "the tests' own secret, known to everyone who reads them"
START_SECONDS = 30


def token(user: int, role: str | None = None, **claims: Any) -> str:
    """A bearer token that the tests' servers accept, good until 2100."""
    payload = {"sub": str(user), "exp": 4102444800, **({"role": role} if role else {}), **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256")


def bearer(user: int, role: str | None = None) -> dict[str, str]:
    """The Authorization header of a user."""
    return {"Authorization": f"Bearer {token(user, role)}"}


class Server:
    """A server on a free port, in a process group of its own; it can be killed and started again."""

    def __init__(self, directory: Path, database_url: str, *, workers: int = 2, threads: int = 8) -> None:
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
        self.environ |= {
            "LEDGER_DATABASE_URL": database_url,
            "LEDGER_VAR_DIR": str(directory),
            "LEDGER_JWT_SECRET": SECRET,
            "LEDGER_LOG_LEVEL": "warning",
            "LEDGER_WORKERS": str(workers),
            "LEDGER_THREADS": str(threads),
            "LEDGER_DB_TIMEOUT": "5",
        }
        self.url = ""
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self, **settings: str) -> None:
        """Starts it and waits until it listens."""
        command = [sys.executable, "-m", "scripts.cli", "serve", "--bind", "127.0.0.1:0"]
        self._process = subprocess.Popen(
            command, env={**self.environ, **settings}, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        listening = threading.Event()
        threading.Thread(target=self._follow, args=(self._process, listening), daemon=True).start()
        if not listening.wait(START_SECONDS):
            self.kill()
            raise AssertionError("the server did not start:\n" + "".join(self.log))

    def kill(self) -> None:
        """Kill -9 of the master and every worker at once."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                family = [psutil.Process(self._process.pid)]
                for process in family + family[0].children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line with this server's settings."""
        command = [sys.executable, "-m", "scripts.cli", *arguments]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)

    def client(self, user: int, role: str | None = None) -> requests.Session:
        """An HTTP session of a user."""
        session = requests.Session()
        session.trust_env = False
        session.headers.update(bearer(user, role))
        return session

    def _follow(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line)
            if line.startswith("Listening on "):
                self.url = line.removeprefix("Listening on ").strip()
                listening.set()
        process.stderr.close()


def problem(response: requests.Response) -> Mapping[str, Any]:
    """The problem document of an answer, checked for its form."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text[:500]
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["requestId"] == response.headers["X-Request-Id"]
    assert {"type", "title", "detail"} <= set(document)
    return document
