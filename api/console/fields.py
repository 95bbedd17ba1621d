"""What people write into the console's forms and addresses, and what it means."""

from __future__ import annotations

import re

from api.problems import Refusal

is_number = re.compile(r"[1-9][0-9]{0,15}").fullmatch
"""Whether a text is an id or a version."""

is_position = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch
"""Whether a text is a position of the log, or a size of its tree: 0 is before the first event."""

_is_amount = re.compile(r"([0-9]{1,9})(?:[.,]([0-9]{2}))?").fullmatch


def number(text: str) -> int:
    """An id. Raises ValueError."""
    if not is_number(text):
        raise ValueError(text)
    return int(text)


def cents(text: str) -> int | None:
    """An amount such as 12.50, in cents; ``None`` for an empty text. Raises Refusal."""
    if not text:
        return None
    found = _is_amount(text)
    if found is None:
        raise Refusal("invalid-amount", "An amount is written as 12.50, or left empty for all that is left.")
    return int(found[1]) * 100 + int(found[2] or 0)
