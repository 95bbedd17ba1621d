"""``serve``: gunicorn with our configuration."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import click
from gunicorn.app.base import BaseApplication

from ledger.actor import Role
from ledger.errors import SettingsError
from ledger.settings import Settings
from projections.watcher import Watcher
from scripts.bootstrap import Runtime, build, check_extras, token_verifier
from scripts.context import Session, WholeNumber, pass_session
from scripts.follow import Following, followings, stop
from scripts.gateway import warnings_about
from scripts.log_keys import with_log_keys
from scripts.logs import PropagatingLogger, log_to_stderr
from scripts.progress import watched
from scripts.secret import with_secret
from scripts.tokens import make_token
from scripts.worker import Worker, malformed_bodies_refused

_METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
_METRICS_PREFIX = "order-ledger-metrics-"
_LOCK = "lock"
_BACKLOG = 2048
"""Connections that may wait for a worker, for each socket: what gunicorn would ask for."""
_WELCOME_TTL = timedelta(hours=12)


class Server(BaseApplication):  # type: ignore[misc]
    """One ledger behind gunicorn. The application is built in each worker: pools and threads don't survive a fork."""

    def __init__(self, settings: Settings, addresses: Sequence[str], announce: Callable[[str], None]) -> None:
        self._settings = settings
        self._addresses = addresses
        self._announce = announce
        self._runtime: Runtime | None = None
        self._following: list[Following] = []
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        """Gunicorn's settings; nothing is taken from its own environment variables or files."""
        options = {
            "bind": self._addresses,
            "workers": self._settings.workers,
            "threads": self._settings.threads,
            "worker_class": Worker,
            "loglevel": self._settings.log_level,
            "proc_name": "order-ledger",
            "preload_app": False,
            "control_socket_disable": True,
            "timeout": 60,
            "graceful_timeout": 30,
            "keepalive": 15,
            "limit_request_line": 8190,
            # No header is taken for the word of a proxy: nothing here needs it, and SCRIPT_NAME would move the routes.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "on_starting": lambda _: log_to_stderr(self._settings.log_level, as_json=self._settings.logs_json),
            "pre_fork": _seat,
            "post_fork": self._worker_forked,
            "post_worker_init": self._worker_ready,
            "worker_exit": self._worker_gone,
            "child_exit": _forget_metrics,
        }
        if self._settings.logs_json:
            options["logger_class"] = PropagatingLogger
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Builds the application, in a worker."""
        self._runtime = build(self._settings)
        return malformed_bodies_refused(self._runtime.app(lambda: self._worker is not None and not self._worker.alive))

    def _worker_forked(self, _arbiter: Any, worker: Any) -> None:
        worker.sockets = [worker.sockets[worker.seat % len(worker.sockets)]]
        if self._settings.pin_workers:
            cpus = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cpus[worker.seat % len(cpus)]})

    def _worker_ready(self, worker: Any) -> None:
        self._worker = worker
        if self._runtime is not None:
            self._following = followings(self._runtime)
            for each in self._following:
                self._runtime.services.health.watch(each)
                each.start()
        if worker.age == 1:  # workers are numbered for ever: said once, when requests are really answered
            self._announce(_url(worker.sockets[0].getsockname()))

    def _worker_gone(self, _server: Any, _worker: Any) -> None:
        stop(self._following)
        if self._runtime is not None:
            self._runtime.close()


def _forget_metrics(_server: Any, worker: Any) -> None:
    """What a worker has counted stays; what it was doing just now ends with it. Called in the master."""
    # Imported only once the directory of metrics is known, for which it looks when it is loaded.
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # annotated nowhere in the library


def _seat(arbiter: Any, worker: Any) -> None:
    """Gives the worker a seat that none of those has who stay: when there are more, gunicorn lets the oldest go."""
    newest = sorted(arbiter.WORKERS.values(), key=lambda other: other.age, reverse=True)
    taken = {other.seat for other in newest[: arbiter.num_workers - 1]}
    worker.seat = next(seat for seat in range(arbiter.num_workers) if seat not in taken)


def prepare(session: Session, settings: Settings) -> None:
    """Creates the schema, and meets everything that would stop a worker, while it can still be said in one line."""
    if settings.pin_workers and not hasattr(os, "sched_setaffinity"):
        raise SettingsError("LEDGER_PIN_WORKERS: this system can't keep a process to a CPU")
    if settings.database_url == "sqlite:///:memory:":
        raise SettingsError("LEDGER_DATABASE_URL: a database in memory can't be shared by worker processes")
    with build(settings) as runtime:
        token_verifier(settings)
        check_extras(settings)
        runtime.follower()
        with watched(session) as tell:
            runtime.migrate(Watcher(tell=tell))
        former = runtime.former_views()
    if former:
        session.say(former)


@contextmanager
def metrics_directory() -> Iterator[None]:
    """A private directory where the workers' metrics meet, gone afterwards; also gone are those of killed servers."""
    for abandoned in Path(tempfile.gettempdir()).glob(f"{_METRICS_PREFIX}*"):
        with suppress(OSError), (abandoned / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(abandoned, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=_METRICS_PREFIX))
    os.environ[_METRICS_DIR] = str(directory)  # prometheus_client takes it from nowhere else
    owner = os.getpid()
    # Workers inherit the lock: it is free when the last process has ended. It has its name only once it is held.
    with (directory / "unlocked").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (directory / "unlocked").rename(directory / _LOCK)
        try:
            yield
        finally:
            if os.getpid() == owner:  # workers leave through here too
                shutil.rmtree(directory, ignore_errors=True)


def listeners(bind: str, workers: int) -> list[str]:
    """Where gunicorn listens: on TCP, a socket a worker, all of one address, made here so that they outlive workers.

    The kernel spreads connections over the sockets by a hash of their addresses. Of workers that accept from one
    socket, one ends with 13 connections of 16 and one with 3, and clients that keep theirs alive stay there. Only Linux
    spreads them; elsewhere there is one socket. Gunicorn takes them over. Raises SettingsError for a taken address.
    """
    if bind.startswith("unix:"):
        _refuse_taken_path(Path(bind.removeprefix("unix:")), bind)
        return [bind]
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    first = _listening(host, int(port), bind)
    # Only now: a socket that may share its port would not find out that another server has it.
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    port = first.getsockname()[1]
    count = workers if sys.platform == "linux" else 1
    others = [_listening(host, port, bind, shared=True) for _ in range(count - 1)]
    return [f"fd://{each.detach()}" for each in (first, *others)]


def _refuse_taken_path(path: Path, bind: str) -> None:
    """Gunicorn takes the path over from a socket that is there, and from a server that listens on it."""
    reason = None
    if not path.parent.is_dir():
        reason = "there is no such directory"
    elif path.exists() and not path.is_socket():
        reason = "there is a file that is no socket"
    elif path.exists():
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(path))
            reason = "Address already in use"
    if reason is not None:
        raise SettingsError(f"can't listen on {bind}: {reason}; choose another address with --bind")


def _listening(host: str, port: int, bind: str, *, shared: bool = False) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingsError(f"can't listen on {bind}: {reason}; choose another address with --bind") from error
    return listener


def _url(address: Any) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"


def _welcome(settings: Settings, url: str) -> None:
    now = datetime.now(UTC)
    with suppress(SettingsError):  # tokens are made elsewhere when only a public key is configured
        token = make_token(settings, user=1, role=Role.CUSTOMER, ttl=_WELCOME_TTL, now=now)
        click.echo(f"\nThe order ledger listens on {url}; stop it with Ctrl-C.\n")
        click.echo(f"  documentation  {url}/docs\n  console        {url}/console\n")
        click.echo(f"A token of user 1, good for 12 hours:\n\n  export TOKEN={token}\n\nA first order:\n")
        click.echo(f'  curl -s {url}/orders/new -H "Authorization: Bearer $TOKEN" \\')
        click.echo("       -H 'Content-Type: application/json' -d '[\"1\", \"1\"]'\n")


def _address(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    try:
        Settings.from_env({"LEDGER_BIND": value or ""})
    except SettingsError as error:
        raise click.BadParameter(f"{value!r} is not of the form ADDRESS:PORT, such as 127.0.0.1:8000.") from error
    return value


@click.command("serve")
@click.option(
    "--bind", callback=_address, metavar="ADDRESS:PORT", help="Where to listen (LEDGER_BIND); port 0 takes a free one."
)
@click.option("--workers", type=WholeNumber(1, 64), help="Worker processes (LEDGER_WORKERS).")
@click.option("--threads", type=WholeNumber(1, 256), help="Threads of each worker (LEDGER_THREADS).")
@click.option("--welcome", is_flag=True, help="Print a token and a first curl line once the ledger listens.")
@pass_session
def serve(session: Session, bind: str | None, workers: int | None, threads: int | None, welcome: bool) -> None:
    """Serve the HTTP API; creates the schema first."""
    overrides = {"LEDGER_BIND": bind, "LEDGER_WORKERS": workers, "LEDGER_THREADS": threads}
    environ = dict(session.environ) | {name: str(value) for name, value in overrides.items() if value is not None}
    # Here and not in each worker: they have the same secrets, even if a file goes away while they serve.
    settings = with_log_keys(with_secret(Settings.from_env(environ)))

    def announce(url: str) -> None:
        session.say(f"Listening on {url}")
        if welcome:
            _welcome(settings, url)

    prepare(session, settings)
    for warning in warnings_about(settings):
        session.say(warning)
    with metrics_directory():
        Server(settings, listeners(settings.bind, settings.workers), announce).run()
