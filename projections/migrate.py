"""Creates the schema: the write side's tables and the views', each view with the version of its definition."""

from __future__ import annotations

from ledger.errors import SettingsError
from ledger.storage import Cursor, Database
from ledger.storage.recorder import read_log
from ledger.storage.schema import SCHEMA_VERSION, create_schema, exists, for_dialect, schema_version
from projections.store import VIEWS, fold
from projections.view import View

_VERSIONS = "CREATE TABLE IF NOT EXISTS views (name text PRIMARY KEY, version bigint NOT NULL)"


def migrate(database: Database) -> None:
    """Creates what is missing; a view that is new to a ledger with history is filled from the log.

    Safe to run at any time and by several processes at once. Raises SettingsError, and changes nothing, when schema or
    views are another release's.
    """
    with database.write() as cursor:
        if exists(cursor, database.dialect, "ledger_schema"):
            _refuse_another_releases(cursor)
        create_schema(cursor, database.dialect)
        cursor.execute(for_dialect(_VERSIONS, database.dialect))
        missing = [view for view in VIEWS if view.name not in view_versions(cursor)]
        for view in missing:
            _add_view(cursor, database, view)


def _refuse_another_releases(cursor: Cursor) -> None:
    known = {view.name: view.version for view in VIEWS}
    found = view_versions(cursor)
    if schema_version(cursor) != SCHEMA_VERSION or any(known.get(name) != found[name] for name in found):
        raise SettingsError("the database was made by another release of the ledger; this one does not understand it")


def is_current(database: Database) -> bool:
    """Whether the schema and all views are those of this release."""
    with database.read() as cursor:
        if not exists(cursor, database.dialect, "ledger_schema") or schema_version(cursor) != SCHEMA_VERSION:
            return False
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
