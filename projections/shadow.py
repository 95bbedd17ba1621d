"""The tables beside a live view: the one that is being made, and the one that was in force before.

``rebuilds`` says how far each of them is. A row of it changes only in the transaction that changes its table, so the
two never disagree, whenever a process is killed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ledger.storage import Cursor
from ledger.storage.database import Bulk
from ledger.storage.schema import exists
from ledger.storage.tables import Table
from projections.view import View

Role = Literal["next", "old"]

_VIEWS = "CREATE TABLE IF NOT EXISTS views (name text PRIMARY KEY, version bigint NOT NULL)"
_REBUILDS = (
    "CREATE TABLE IF NOT EXISTS rebuilds (view_name text NOT NULL, role text NOT NULL, table_name text NOT NULL,"
    " version bigint NOT NULL, position bigint NOT NULL, skipped bigint NOT NULL, PRIMARY KEY (view_name, role))"
)
DDL = (_VIEWS, _REBUILDS)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A table with the rows that a view has after the event at ``position``.

    ``skipped`` counts the events up to there that were set aside, ``table_name`` is where the rows are now.
    """

    view_name: str
    role: Role
    table_name: str
    version: int
    position: int
    skipped: int

    def table(self, view: View) -> Table:
        """The view's table, at its present name."""
        return replace(view.table, name=self.table_name)

    def save(self, cursor: Cursor) -> None:
        """Notes it, in place of what was noted of this role before."""
        forget(cursor, self.view_name, self.role)
        cursor.execute(
            "INSERT INTO rebuilds (view_name, role, table_name, version, position, skipped) VALUES (?, ?, ?, ?, ?, ?)",
            (self.view_name, self.role, self.table_name, self.version, self.position, self.skipped),
        )


def fresh(view: View) -> Shadow:
    """The beginning of a new table for the view."""
    return Shadow(view.name, "next", f"{view.table.name}_next", view.version, 0, 0)


def find(cursor: Cursor, view_name: str, role: Role) -> Shadow | None:
    """What is noted of this role; ``None`` when there is no such table."""
    rows = cursor.execute(
        "SELECT view_name, role, table_name, version, position, skipped FROM rebuilds WHERE view_name = ? AND role = ?",
        (view_name, role),
    )
    return Shadow(*rows[0]) if rows else None


def forget(cursor: Cursor, view_name: str, role: Role) -> None:
    """Notes that there is no such table."""
    cursor.execute("DELETE FROM rebuilds WHERE view_name = ? AND role = ?", (view_name, role))


def put_in_force(cursor: Cursor, view: View) -> None:
    """Notes that this definition is in force; those who knew another one find out when they append or read next."""
    known = cursor.execute("SELECT version FROM views WHERE name = ?", (view.name,))
    if known == [(view.version,)]:
        return
    cursor.execute("DELETE FROM views WHERE name = ?", (view.name,))
    cursor.execute("INSERT INTO views (name, version) VALUES (?, ?)", (view.name, view.version))
    cursor.execute("UPDATE view_set SET generation = generation + 1")


def resumed(bulk: Bulk, view: View) -> Shadow | None:
    """The table that an earlier run left, if this run would have made the same one.

    Where events were set aside somebody may have mended them since, or names another file for them now.
    """
    head = bulk.head()
    with bulk.look() as cursor:
        left = find(cursor, view.name, "next")
        if left is None or not exists(cursor, bulk.dialect, left.table_name):
            return None
    same = left.version == view.version and left.position <= head and not left.skipped
    return left if same else None


def begun(bulk: Bulk, view: View) -> Shadow:
    """A new, empty table, in place of what an earlier run left."""
    with bulk.look() as cursor:
        left = find(cursor, view.name, "next")
    new = fresh(view)
    discard(bulk, left, new.table_name)
    with bulk.batch() as cursor:
        bulk.create(cursor, new.table(view))
        new.save(cursor)
    return new


def discard(bulk: Bulk, noted: Shadow | None, *tables: str) -> None:
    """Drops a table that is of no use any more, and others by name that nothing may be noted of."""
    if noted is not None:
        with bulk.batch() as cursor:
            replace(noted, version=0).save(cursor)  # first: nobody is to go on with what may be half gone
    for table in {*tables, *([noted.table_name] if noted else [])}:
        bulk.drop(table)
    if noted is not None:
        with bulk.batch() as cursor:
            forget(cursor, noted.view_name, noted.role)
