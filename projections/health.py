"""Whether this ledger can serve: asked by the readiness endpoint and the doctor."""

from __future__ import annotations

from collections.abc import Callable

from ledger.storage import Database
from projections.migrate import missing
from projections.transparency import LogSizes, log_sizes


class Health:
    """Looks at the database when asked, so that its answer is never older than the question."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._follows: Callable[[], bool] | None = None

    def watch(self, follows: Callable[[], bool]) -> None:
        """From now on this process can't serve without its follower of the transparency log."""
        self._follows = follows

    def problem(self) -> str | None:
        """What keeps the ledger from serving; ``None`` when it is ready. Raises StorageUnavailable."""
        if self._follows is not None and not self._follows():
            return "The follower of the transparency log has ended: this process is to be started again."
        return missing(self._database)

    def head(self) -> int:
        """The position of the log's last event, 0 when it is empty. Raises StorageUnavailable."""
        return self.log_sizes().head

    def log_sizes(self) -> LogSizes:
        """How far the log, its tree and its checkpoints have come. Raises StorageUnavailable."""
        return log_sizes(self._database)
