"""The Idempotency-Key header, and the hash that tells whether two requests are the same."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from api.problems import Refusal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

# A bare key has no comma, semicolon or backslash. Servers join repeated headers with commas, so that two keys would
# pass for one; a semicolon starts the parameters of an RFC 8941 item; a backslash could pass for an escape.
_BARE = r"[!#-+\-.\/0-:<-\[\]-~]{1,255}"
_QUOTED = r'"([ !#-\[\]-~]|\\["\\]){1,255}"'
KEY_PATTERN = f"^({_BARE}|{_QUOTED})$"
"""A bare key, or an RFC 8941 string; for the server and for the documentation."""

_is_bare = re.compile(_BARE).fullmatch
_is_quoted = re.compile(_QUOTED).fullmatch
_escape = re.compile(r"\\(.)")


def idempotency_key(header: str | None) -> str | None:
    """The key that the header carries, quoted or not; ``None`` without one. Refuses a malformed header."""
    if header is None:
        return None
    if _is_bare(header):
        return header
    if _is_quoted(header):
        return _escape.sub(r"\1", header[1:-1])
    raise Refusal("invalid-header", f"{HEADER} must be 1 to 255 printable ASCII characters, quoted if with spaces.")


def request_hash(operation: str, body: Any) -> str:
    """The same for equal bodies, however they were written."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{operation}\n{canonical}".encode()).hexdigest()
