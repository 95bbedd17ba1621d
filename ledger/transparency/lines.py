"""The exported log: one JSON object a line, in order of position (docs/audit.md has it to the byte)."""

from __future__ import annotations

import json
import re

from ledger.errors import MalformedProof
from ledger.storage.log import RecordedEvent

MEMBERS = ("position", "stream", "version", "type", "body", "recordedAt")

_quoted = json.JSONEncoder(ensure_ascii=False).encode
_timestamp = re.compile(r'\{"timestamp":"([^"\\]*)"').match
_MAX = 2**63 - 1


def recorded_at(body: str) -> str | None:
    """The timestamp that every body begins with; ``None`` for one that doesn't."""
    found = _timestamp(body)
    return found[1] if found else None


def encode_line(event: RecordedEvent) -> str:
    """The event's line, with its line feed. The body is a string: the stored text, to the character."""
    position, stream, version, type, body = event
    moment = recorded_at(body)
    return (
        f'{{"position":{position},"stream":{_quoted(stream)},"version":{version},"type":{_quoted(type)},'
        f'"body":{_quoted(body)},"recordedAt":{"null" if moment is None else _quoted(moment)}}}\n'
    )


def decode_line(line: str) -> RecordedEvent:
    """The event of a line. Raises MalformedProof for anything that is not an object of these six members."""
    try:
        members = json.loads(line)
    except ValueError as error:
        raise MalformedProof("The line is not JSON.") from error
    if not isinstance(members, dict) or tuple(members) != MEMBERS:
        raise MalformedProof(f"The line is not an object of {', '.join(MEMBERS)}, in this order.")
    position, stream, version, type, body, moment = members.values()
    if not _is_count(position) or not _is_count(version):
        raise MalformedProof("Its position or version is not a number from 1.")
    if not isinstance(stream, str) or not isinstance(type, str) or not isinstance(body, str):
        raise MalformedProof("Its stream, type or body is not a string.")
    if moment != recorded_at(body):
        raise MalformedProof("Its recordedAt is not the timestamp of its body.")
    return RecordedEvent(position, stream, version, type, body)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= _MAX
