"""Creates the schema: the write side's tables and the views', each view with the version of its definition."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.errors import SettingsError
from ledger.storage import Cursor, Database
from ledger.storage.recorder import read_log
from ledger.storage.schema import SCHEMA_VERSION, create_schema, exists, for_dialect, schema_version
from projections.store import VIEWS, fold
from projections.view import View

_VERSIONS = "CREATE TABLE IF NOT EXISTS views (name text PRIMARY KEY, version bigint NOT NULL)"


def migrate(database: Database) -> None:
    """Creates what is missing; a view whose table is not there is filled from the log.

    Safe to run at any time and by several processes at once. Raises SettingsError, and changes nothing, when schema or
    views are another release's.
    """
    database.create()
    with database.write() as cursor:
        if exists(cursor, database.dialect, "ledger_schema") and _is_another_releases(cursor, view_versions(cursor)):
            raise SettingsError("the database was made by another release; this one does not understand it")
        create_schema(cursor, database.dialect)
        cursor.execute(for_dialect(_VERSIONS, database.dialect))
        versions = view_versions(cursor)
        for view in VIEWS:
            if view.name not in versions or not _has_table(cursor, database, view):
                _add_view(cursor, database, view)


def missing(database: Database) -> str | None:
    """What keeps this release from working on the database, in words; ``None`` when nothing does."""
    with database.read() as cursor:
        if not exists(cursor, database.dialect, "ledger_schema"):
            return "There is no ledger in this database yet: `order-ledger migrate` creates one."
        versions = view_versions(cursor)
        if _is_another_releases(cursor, versions):
            return "The database was made by another release of the ledger; this one does not understand it."
        if len(versions) < len(VIEWS) or not all(_has_table(cursor, database, view) for view in VIEWS):
            return "A view is missing: `order-ledger migrate` makes it from the log."
    return None


def view_versions(cursor: Cursor) -> dict[str, int]:
    """The version of each view in the database, by name."""
    return {str(row[0]): int(row[1]) for row in cursor.execute("SELECT name, version FROM views")}


def _is_another_releases(cursor: Cursor, found: Mapping[str, int]) -> bool:
    known = {view.name: view.version for view in VIEWS}
    return schema_version(cursor) != SCHEMA_VERSION or any(known.get(name) != found[name] for name in found)


def _has_table(cursor: Cursor, database: Database, view: View) -> bool:
    return exists(cursor, database.dialect, view.table.name)


def _add_view(cursor: Cursor, database: Database, view: View) -> None:
    for statement in view.table.ddl():
        cursor.execute(for_dialect(statement, database.dialect))
    rows = fold(view, read_log(cursor)).values()
    cursor.executemany(view.table.insert_sql(), rows)
    cursor.execute("DELETE FROM views WHERE name = ?", (view.name,))
    cursor.execute("INSERT INTO views (name, version) VALUES (?, ?)", (view.name, view.version))
