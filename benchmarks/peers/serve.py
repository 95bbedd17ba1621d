"""Serves a peer exactly as `order-ledger serve` serves the ledger: the same gunicorn, worker class and settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.peers import hello
from ledger.settings import Settings
from scripts.serve import Server, listeners, metrics_directory


class PeerServer(Server):
    """The ledger's server with another application in it."""

    def __init__(self, peer: str, settings: Settings, addresses: Sequence[str]) -> None:
        self._peer = peer
        super().__init__(settings, addresses, lambda url: print(f"Listening on {url}", file=sys.stderr, flush=True))

    def load(self) -> Any:
        """Builds the peer, in a worker."""
        if self._peer == "hello":
            return hello.create_app()
        from benchmarks.peers import crud  # noqa: PLC0415  SQLAlchemy is no part of a hello

        settings = self._settings
        url = settings.database_url.replace("postgresql://", "postgresql+psycopg://")
        assert settings.jwt_secret is not None
        return crud.create_app(url, settings.jwt_secret, settings.threads)


def main() -> None:
    """``python -m benchmarks.peers.serve hello|crud``, with LEDGER_* settings."""
    settings = Settings.from_env(os.environ)
    with metrics_directory():
        PeerServer(sys.argv[1], settings, listeners(settings.bind, settings.workers)).run()


if __name__ == "__main__":
    main()
