"""What ``order-ledger check`` found last: noted for the console, as nobody else has looked at everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.clock import rfc3339
from ledger.storage import Cursor, Database

EVERYTHING = "everything"
SAMPLE = "a sample"

_PUT = (
    "INSERT INTO checks (subject, checked_at, head, findings) VALUES (?, ?, ?, ?) ON CONFLICT (subject) DO UPDATE"
    " SET checked_at = excluded.checked_at, head = excluded.head, findings = excluded.findings"
)


@dataclass(frozen=True, slots=True)
class LastCheck:
    """The last check of ``everything``, of ``a sample``, or of a view by its name; ``head`` is where the log ended."""

    subject: str
    checked_at: str
    head: int
    findings: int


def note_check(database: Database, subject: str, moment: datetime, head: int, findings: int) -> None:
    """Notes what a check has found. Raises StorageUnavailable."""
    with database.transaction() as cursor:
        cursor.execute(_PUT, (subject, rfc3339(moment), head, findings))


def most_telling(checks: Sequence[LastCheck]) -> LastCheck | None:
    """Of checks, the latest first, the one that says how the ledger stands: what has found something, unless everything
    was sound since, before what has looked at everything."""
    whole = next((place for place, check in enumerate(checks) if check.subject == EVERYTHING), len(checks))
    valid = [*checks[: whole + 1]]
    found = [check for check in valid if check.findings]
    return next(iter([*found, *checks[whole : whole + 1], *valid]), None)


def last_checks(cursor: Cursor) -> list[LastCheck]:
    """The last check of each subject, the latest first."""
    rows = cursor.execute("SELECT subject, checked_at, head, findings FROM checks ORDER BY checked_at DESC, subject")
    return [LastCheck(*row) for row in rows]
