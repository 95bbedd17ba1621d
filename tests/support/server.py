"""A real server: gunicorn behind a socket, started by the command line as an operator would."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import psutil
import requests

from tests.support import cli

SECRET = "the tests' own secret, known to everyone who reads them"


def token(user: int, role: str | None = None, **claims: Any) -> str:
    """A bearer token that the tests' servers accept, good until 2100."""
    payload = {"sub": str(user), "exp": 4102444800, **({"role": role} if role else {}), **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256")


def bearer(user: int, role: str | None = None) -> dict[str, str]:
    """The Authorization header of a user."""
    return {"Authorization": f"Bearer {token(user, role)}"}


class Server:
    """A server on a free port; it can be killed and started again."""

    def __init__(self, directory: Path, database_url: str, *, workers: int = 2, threads: int = 8) -> None:
        self.environ = cli.environ_of(
            LEDGER_DATABASE_URL=database_url,
            LEDGER_VAR_DIR=str(directory),
            LEDGER_JWT_SECRET=SECRET,
            LEDGER_LOG_LEVEL="warning",
            LEDGER_WORKERS=str(workers),
            LEDGER_THREADS=str(threads),
            LEDGER_DB_TIMEOUT="5",
        )
        self._logs = (directory / f"server-{number}.log" for number in itertools.count(1))
        self._running: cli.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.running.url

    @property
    def log(self) -> list[str]:
        """What it has said since its last start."""
        return self.running.log.read_text().splitlines()

    @property
    def running(self) -> cli.Server:
        """The server as it was last started."""
        assert self._running is not None, "not started"
        return self._running

    def start(self, **settings: str) -> None:
        """Starts it and waits until it listens."""
        self._running = cli.launch(environ=self.environ | settings, log=next(self._logs))

    def kill(self) -> None:
        """Kill -9 of the master and every worker at once."""
        master = psutil.Process(self.running.process.pid)
        for process in [master, *master.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.running.process.wait()

    def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        if self.running.process.poll() is None:
            self.running.stop()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line with this server's settings."""
        return cli.run_cli(*arguments, environ=self.environ)

    def client(self, user: int, role: str | None = None) -> requests.Session:
        """An HTTP session of a user."""
        session = requests.Session()
        session.trust_env = False
        session.headers.update(bearer(user, role))
        return session


def problem(response: requests.Response) -> Mapping[str, Any]:
    """The problem document of an answer, checked for its form."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text[:500]
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["requestId"] == response.headers["X-Request-Id"]
    assert {"type", "title", "detail"} <= set(document)
    return document
