"""JSON bodies, read strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from api.problems import Refusal

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16
MAX_INTEGER = 2**53 - 1
"""Beyond this, a JavaScript client would already have rounded the number."""

_MAX_DIGITS = len(str(-MAX_INTEGER))
_PLAIN_TYPES = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})


def read_json(request: Request) -> Any:
    """The parsed body of ``request``; refuses (400, 413, 415) anything but one strict JSON text."""
    return parse_json(read_body(request))


def read_body(request: Request) -> bytes:
    """The body of ``request`` as it was sent; refuses (400, 413, 415) none, a large one, and what is not said to be
    JSON."""
    body = request.get_data(cache=False)
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLarge
    if not body:
        _refuse("The request has no body.")
    _check_media_type(request)
    return body


def parse_json(body: bytes) -> Any:
    """Parses one strict JSON text; raises Refusal for anything else."""
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        _refuse("The body is not UTF-8.")
    except json.JSONDecodeError as error:
        _refuse(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.")
    except RecursionError:
        _refuse(f"The body is nested more than {MAX_DEPTH} deep.")
    # Raw control characters are already refused; NUL and surrogates can only have come from an escape.
    _check_values(value, check_strings="\\u" in text)
    return value


def _check_media_type(request: Request) -> None:
    content_type = request.environ.get("CONTENT_TYPE", "")
    if content_type not in _PLAIN_TYPES:
        media_type, options = parse_options_header(content_type)
        if media_type.lower() != "application/json":
            sent = "none" if not media_type else media_type[:100]
            raise Refusal("unsupported-media-type", f"The body must be application/json; the request says {sent}.")
        if options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise Refusal("unsupported-media-type", "The body must be JSON in UTF-8.")
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in {"identity", ""}:
        raise Refusal("unsupported-media-type", "The body must not have a content coding.")


def _check_values(value: Any, *, check_strings: bool) -> None:
    """Walks the value without recursion, so that no body can exhaust the stack here."""
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, (dict, list)):
            if depth > MAX_DEPTH:
                _refuse(f"The body is nested more than {MAX_DEPTH} deep.")
            if isinstance(item, dict):
                pending.extend((key, depth) for key in item)
                item = item.values()
            pending.extend((part, depth + 1) for part in item)
        elif check_strings and isinstance(item, str):
            _check_string(item)


def _check_string(text: str) -> None:
    if "\0" in text:
        _refuse("A string in the body contains a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse("A string in the body contains an unpaired surrogate.")


def _integer(digits: str) -> int:
    # The length first: turning a million digits into a number takes very long.
    if len(digits) > _MAX_DIGITS or abs(number := int(digits)) > MAX_INTEGER:
        _refuse(f"The integer {digits[:40]} is too large.")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(f"The number {digits[:40]} is too large.")
    return number


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        _refuse(f"The name {json.dumps(name[:40])} appears twice in one object.")
    return members


def _refuse(detail: str) -> NoReturn:
    raise Refusal("malformed-json", detail)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
