"""Which trace a request belongs to, as its traceparent header says: https://www.w3.org/TR/trace-context/"""

from __future__ import annotations

import re

_traceparent = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
).fullmatch


def trace_id(traceparent: str | None) -> str | None:
    """The trace's id, 32 hexadecimal digits; ``None`` without a header that makes sense, which is ignored then."""
    found = None if traceparent is None else _traceparent(traceparent)
    if found is None or (found[1] == "00" and found[3]):  # only later versions may go on
        return None
    return found[2]
