"""The ledger's own id: drawn at random when its database was made, and kept there."""

from __future__ import annotations

from ledger.storage.database import Database


class LedgerId:
    """Tells this ledger's objects from those of others at a gateway that they share.

    It is asked for when it is first needed, so that nothing connects before.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._id: str | None = None

    def __call__(self) -> str:
        """Sixteen hexadecimal digits. May raise StorageUnavailable."""
        if self._id is None:
            with self._database.read() as cursor:
                self._id = str(cursor.execute("SELECT id FROM ledger_identity")[0][0])
        return self._id
