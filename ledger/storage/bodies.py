"""How the bodies of events are stored."""

from __future__ import annotations

import json
from typing import Any

from eventsourcing.persistence import Transcoder


class JSONBodies(Transcoder):
    """Stores event bodies as compact JSON in UTF-8, attribute by attribute, with nothing added."""

    def __init__(self) -> None:
        self._encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def encode(self, obj: Any) -> bytes:
        """The stored bytes. Raises TypeError or ValueError for what is not plain JSON."""
        return self._encoder.encode(obj).encode()

    def decode(self, data: bytes) -> Any:
        """The attributes as they were encoded."""
        return json.loads(data)
