"""message-db: an event store that is SQL functions. Its package comes from npm, into a cache outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks import rows
from benchmarks.measure import Operation

PACKAGE = "@eventide/message-db"
RELEASE = "1.3.1"
CACHE = Path.home() / ".cache" / "order-ledger-bench"
_FETCH_SECONDS = 120

# As its own install.sh has them; without what appending does not use: privileges, views, and pgcrypto, whose
# gen_random_uuid is PostgreSQL's own by now.
_SCRIPTS = ("roles/message-store", "schema/message-store", "tables/messages", "types/message")
_FUNCTIONS = ("message-store-version", "hash-64", "acquire-lock", "category", "is-category", "id", "cardinal-id")
_WRITING = ("stream-version", "write-message")
_INDEXES = ("messages-id", "messages-stream", "messages-category")
_WRITE = "SELECT write_message(%s, %s, %s, %s::jsonb, NULL, -1)"


class Unavailable(Exception):
    """message-db can't take part; the text says why."""


def fetch() -> Path:
    """The directory of its SQL files, fetched by npm when it is not in the cache. Raises Unavailable."""
    database = CACHE / "node_modules" / PACKAGE / "database"
    if not database.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(f"{PACKAGE} comes from npm, which is not installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--prefix",
            str(CACHE),
            "--no-audit",
            "--no-fund",
            "--silent",
            f"{PACKAGE}@{RELEASE}",
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_FETCH_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"npm could not fetch {PACKAGE}@{RELEASE}") from error
    return database


class MessageDb:
    """``write_message`` with the expected version of a new stream; one connection a thread."""

    name = "message-db"

    def __init__(self, url: str, database: Path) -> None:
        self._url = url
        files = [*_SCRIPTS, *(f"functions/{name}" for name in (*_FUNCTIONS, *_WRITING))]
        with self._connection() as connection:
            for file in [*files, *(f"indexes/{name}" for name in _INDEXES)]:
                connection.execute((database / f"{file}.sql").read_bytes())

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """Appends one event."""
        with self._connection() as connection:

            def append(number: int) -> int:
                stream, body = rows.event(number)
                parameters = (str(uuid.UUID(int=number)), stream, rows.TYPE, body)
                connection.execute(_WRITE, parameters, prepare=True).fetchone()
                return 1

            yield append

    def stored(self) -> int:
        """How many messages there are."""
        with self._connection() as connection:
            row = connection.execute("SELECT count(*) FROM messages").fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Nothing is kept open."""

    def _connection(self) -> psycopg.Connection:
        return psycopg.connect(self._url, autocommit=True, options="-c search_path=message_store,public")
