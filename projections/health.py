"""Whether this ledger can serve: asked by the readiness endpoint and the doctor."""

from __future__ import annotations

from ledger.storage import Database
from projections.migrate import missing


class Health:
    """Looks at the database when asked, so that its answer is never older than the question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def problem(self) -> str | None:
        """What keeps the ledger from serving; ``None`` when it is ready. Raises StorageUnavailable."""
        return missing(self._database)

    def head(self) -> int:
        """The position of the log's last event, 0 when it is empty. Raises StorageUnavailable."""
        with self._database.read() as cursor:
            return int(cursor.execute("SELECT coalesce(max(position), 0) FROM events")[0][0])
