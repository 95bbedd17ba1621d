"""Fixtures of the suite that runs on every storage."""

from __future__ import annotations

import pytest

from tests.support.storages import Store
from tests.support.webhooks import Bench


@pytest.fixture
def bench(store: Store) -> Bench:
    """A ledger that tells others of its orders."""
    return Bench(store)
