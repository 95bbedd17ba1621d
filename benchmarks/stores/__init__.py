"""The contestants of the append benchmark, each behind the same small face."""

from __future__ import annotations

from benchmarks.stores.face import Store

__all__ = ["Store"]
