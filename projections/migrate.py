"""Creates the schema: the write side's tables and the views', each view with the version of its definition."""

from __future__ import annotations

from ledger.errors import SettingsError
from ledger.storage import Cursor, Database
from ledger.storage.recorder import read_log
from ledger.storage.schema import SCHEMA_VERSION, create_schema, for_dialect, schema_version
from projections.store import VIEWS, fold
from projections.view import View


def migrate(database: Database) -> None:
    """Creates what is missing; a view that is new to a ledger with history is filled from the log.

    Safe to run at any time and by several processes at once. Raises SettingsError when the database belongs to a
    newer release.
    """
    if is_current(database):
        return
    with database.write() as cursor:
        create_schema(cursor, database.dialect)
        cursor.execute(
            for_dialect(
                "CREATE TABLE IF NOT EXISTS views (name text PRIMARY KEY, version bigint NOT NULL)", database.dialect
            )
        )
        versions = view_versions(cursor)
        for view in VIEWS:
            if view.name not in versions:
                _add_view(cursor, database, view)
    if not is_current(database):
        raise SettingsError("the database was made by another release of the ledger; this one does not understand it")


def is_current(database: Database) -> bool:
    """Whether the schema and all views are those of this release."""
    if schema_version(database) != SCHEMA_VERSION:
        return False
    with database.read() as cursor:
        return view_versions(cursor) == {view.name: view.version for view in VIEWS}


def view_versions(cursor: Cursor) -> dict[str, int]:
    """The version of each view in the database, by name."""
    return {str(row[0]): int(row[1]) for row in cursor.execute("SELECT name, version FROM views")}


def _add_view(cursor: Cursor, database: Database, view: View) -> None:
    for statement in view.table.ddl():
        cursor.execute(for_dialect(statement, database.dialect))
    rows = fold(view, read_log(cursor)).values()
    cursor.executemany(view.table.insert_sql(), rows)
    cursor.execute("INSERT INTO views (name, version) VALUES (?, ?)", (view.name, view.version))
