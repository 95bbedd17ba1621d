"""Query parameters: what is unknown, given twice or out of range is refused, rather than something else answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from werkzeug.datastructures import MultiDict

from api.problems import Refusal
from ledger.clock import rfc3339

Check = Callable[[str], str | None]
"""Says what is wrong with a value; ``None``: nothing."""

_is_integer = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch
_is_rfc3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch


def checked(arguments: MultiDict[str, str], checks: Mapping[str, Check]) -> dict[str, str]:
    """The values by name, each one known, given once and sound. Raises Refusal with all faults."""
    errors: dict[str, list[str]] = {}
    for name, values in arguments.lists():
        check = checks.get(name)
        fault = (
            "Unknown parameter." if check is None else "Given more than once." if len(values) > 1 else check(values[0])
        )
        if fault is not None:
            errors[name[:100]] = [fault]
    if errors:
        raise Refusal("invalid-query", "A query parameter is not acceptable.", errors=errors)
    return arguments.to_dict()


def anything(_value: str) -> None:
    """A value that is checked later."""


def integer(low: int, high: int) -> Check:
    """An integer from ``low`` to ``high``, in its plain form."""

    def check(value: str) -> str | None:
        sound = _is_integer(value) and low <= int(value) <= high
        return None if sound else f"Not an integer from {low} to {high}."

    return check


def one_of(values: Collection[str]) -> Check:
    """One of these."""
    return lambda value: None if value in values else f"Not one of {', '.join(values)}."


def matching(pattern: str, meaning: str) -> Check:
    """A text that the pattern matches as a whole."""
    matches = re.compile(pattern, re.ASCII).fullmatch
    return lambda value: None if matches(value) else f"Not {meaning}."


def moment(value: str) -> str | None:
    """A time of RFC 3339."""
    return None if _parsed(value) else "Not a time of RFC 3339, such as 2026-01-31T12:00:00Z."


def as_recorded(moment: str) -> str:
    """A time that was checked, in UTC as events write it."""
    parsed = _parsed(moment)
    if parsed is None:
        raise ValueError(moment)
    return parsed


def _parsed(text: str) -> str | None:
    if not _is_rfc3339(text):
        return None
    try:
        return rfc3339(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):  # such as the 30th of February
        return None
