"""A transparency log as its followers see it: over HTTP, in the layout of https://c2sp.org/tlog-tiles."""

from __future__ import annotations

from functools import cache

import requests

from ledger.errors import LedgerError, NotProven
from ledger.transparency.merkle import consistency_proof
from ledger.transparency.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, reader_of_tiles

_TIMEOUT = 30
_MAX_BYTES = 1 << 20


class LogClient:
    """Asks a log below its prefix; ``token``: a bearer token, where one is needed. Raises LedgerError when it can't."""

    def __init__(self, prefix: str, token: str | None = None) -> None:
        self._prefix = prefix.rstrip("/")
        self._session = requests.Session()
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def checkpoint(self) -> bytes:
        """The latest checkpoint, as it is signed."""
        return self._get("checkpoint")

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof between two sizes, made of the log's tiles. Raises MalformedProof; NotProven when it has shrunk."""
        if old > new:
            raise NotProven(f"The log shows {new} events, and has shown {old} before.")

        @cache
        def read(level: int, index: int) -> bytes:
            width = min(TILE_WIDTH, (new >> TILE_HEIGHT * level) - index * TILE_WIDTH)
            return self._get(Tile(level, index, width).path)

        return consistency_proof(reader_of_tiles(read), old, new)

    def submit(self, note: str) -> None:
        """Brings a checkpoint with a cosignature."""
        self._asked("POST", "cosignatures", json={"checkpoint": note})

    def _get(self, path: str) -> bytes:
        return self._asked("GET", path)

    def _asked(self, method: str, path: str, **body: object) -> bytes:
        url = f"{self._prefix}/{path}"
        try:
            with self._session.request(
                method,
                url,
                timeout=_TIMEOUT,
                stream=True,
                allow_redirects=False,
                **body,  # type: ignore[arg-type]
            ) as answer:
                data = answer.raw.read(_MAX_BYTES, decode_content=True)
        except requests.RequestException as error:
            raise LedgerError(f"{url} can't be reached: {type(error).__name__}.") from error
        if answer.status_code != requests.codes.ok:
            raise LedgerError(f"{url} answers {answer.status_code}: {data[:300].decode(errors='replace')}")
        return bytes(data)
