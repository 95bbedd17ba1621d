"""The event store: databases, their schema, and the recorder that the eventsourcing library writes through."""

from __future__ import annotations

from ledger.errors import SettingsError
from ledger.storage.database import Cursor, Database
from ledger.storage.sqlite import SqliteDatabase

__all__ = ["Cursor", "Database", "open_database"]


def open_database(url: str, *, pool_size: int = 8, timeout: float = 5.0) -> Database:
    """Opens the database that a URL names; nothing is created in it (see ``Database.create`` and projections/migrate).

    ``sqlite:///PATH`` (relative to the working directory; ``sqlite:////abs/path`` is absolute; ``:memory:`` lives as
    long as the object) or a libpq URI. ``timeout`` (seconds) bounds waits for connections, locks and statements.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return SqliteDatabase(rest.removeprefix("/"), timeout=timeout)
    try:
        from ledger.storage.postgres import PostgresDatabase  # noqa: PLC0415  psycopg is an extra
    except ImportError as error:
        raise SettingsError(
            f"LEDGER_DATABASE_URL needs the postgres extra (order-ledger[postgres]): {error}"
        ) from error
    return PostgresDatabase(url, pool_size=pool_size, timeout=timeout)
