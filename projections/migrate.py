"""Creates the schema: the write side's tables and the views', each view with the version of its definition."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import SettingsError
from ledger.storage import Cursor, Database
from ledger.storage.database import Dialect
from ledger.storage.schema import SCHEMA_VERSION, create_schema, exists, for_dialect, schema_version
from projections import searchable
from projections import shadow as shadows
from projections.live import UnknownViews, live_set
from projections.rebuild import rebuild
from projections.store import VIEWS
from projections.view import View
from projections.watcher import NOBODY, Watcher

_FOLLOWED = ("log_attested", "log_cosignatures", "order_search", "followed", "webhook_endpoints")
_OURS = ("view_set", "views", "rebuilds", "checks", *_FOLLOWED)
ANOTHER_RELEASES = "The database was made by another release of the ledger; this one does not understand it."


def migrate(database: Database, known: Sequence[View] = VIEWS, *, watcher: Watcher = NOBODY) -> None:
    """Creates what is missing; a view whose table is not there is made from the log, while others read and append.

    A view that is there in a former version stays in force: ``rebuild`` brings the latest one. Safe to run at any time
    and by several processes at once. Raises SettingsError, and changes nothing, when schema or views are another
    release's.
    """
    database.create()
    with database.write() as cursor:
        if exists(cursor, database.dialect, "ledger_schema") and schema_version(cursor) != SCHEMA_VERSION:
            raise SettingsError(ANOTHER_RELEASES)
        create_schema(cursor, database.dialect)
        for statement in (*shadows.DDL, *searchable.DDL):
            cursor.execute(for_dialect(statement, database.dialect))
        try:
            absent = _absent(cursor, database, known)
        except UnknownViews as error:
            raise SettingsError(str(error)) from error
        if _is_new(cursor):
            for view in absent:
                _create(cursor, database.dialect, view)
            return
    for view in absent:
        rebuild(database, view, known, watcher=watcher, wait=True, if_missing=True)


def missing(database: Database, known: Sequence[View] = VIEWS) -> str | None:
    """What keeps this release from working on the database, in words; ``None`` when nothing does."""
    with database.read() as cursor:
        fault = schema_fault(cursor, database.dialect)
        if fault is not None:
            return fault
        try:
            absent = _absent(cursor, database, known)
        except UnknownViews as error:
            return str(error)
    return "A view is missing: `order-ledger migrate` makes it from the log." if absent else None


def schema_fault(cursor: Cursor, dialect: Dialect) -> str | None:
    """What is wrong with all tables but those of the views, in words; ``None`` when nothing is."""
    if not exists(cursor, dialect, "ledger_schema"):
        return "There is no ledger in this database yet: `order-ledger migrate` creates one."
    if schema_version(cursor) != SCHEMA_VERSION:
        return ANOTHER_RELEASES
    if not exists(cursor, dialect, "events"):
        return "The log is not there: a ledger that has lost its table `events` has to be restored."
    if not all(exists(cursor, dialect, table) for table in _OURS):
        return "The schema is a former release's: `order-ledger migrate` brings it up to date."
    return None


def outdated(database: Database, known: Sequence[View] = VIEWS) -> list[View]:
    """The views, as they are to be, that are in force in a former version."""
    with database.read() as cursor:
        live = live_set(cursor, known)
    return [view for view in known if (found := live.definition(view.name)) and found.version != view.version]


def view_versions(cursor: Cursor) -> dict[str, int]:
    """The version of each view in the database, by name."""
    return {str(row[0]): int(row[1]) for row in cursor.execute("SELECT name, version FROM views")}


def _absent(cursor: Cursor, database: Database, known: Sequence[View]) -> list[View]:
    """What has to be made for each view to have a table, in the version that is in force if there is one."""
    live = live_set(cursor, known)
    wanted = [live.definition(view.name) or view for view in known]
    return [
        view
        for view in wanted
        if live.definition(view.name) is None or not exists(cursor, database.dialect, view.table.name)
    ]


def _is_new(cursor: Cursor) -> bool:
    """Whether there is nothing yet that a view could be made from, or that could be in a new view's way."""
    return not cursor.execute("SELECT 1 FROM events LIMIT 1") and not cursor.execute("SELECT 1 FROM rebuilds LIMIT 1")


def _create(cursor: Cursor, dialect: Dialect, view: View) -> None:
    for statement in view.table.ddl():
        cursor.execute(for_dialect(statement, dialect))
    shadows.put_in_force(cursor, view)
