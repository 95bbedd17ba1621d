"""Time as events write it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Answers the present time, with a time zone."""


def utc_now() -> datetime:
    """The clock of production."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, ending in ``Z``: all timestamps have one length, so they sort as text."""
    # isoformat takes a quarter of strftime's time, which is felt by whoever writes a million of them.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
