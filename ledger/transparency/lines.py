"""The exported log: one JSON object a line, in order of position (docs/audit.md has it to the byte)."""

from __future__ import annotations

import json
import re

from msgspec import MsgspecError
from msgspec.json import Decoder

from ledger.errors import MalformedProof
from ledger.storage.log import RecordedEvent

MEMBERS = ("position", "stream", "version", "type", "body", "recordedAt")

_quoted = json.JSONEncoder(ensure_ascii=False).encode
_quickly = Decoder().decode
_read = json.JSONDecoder().raw_decode  # half the time of json.loads, which looks for white space on either side
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


def _read_at_length(line: str) -> object:
    try:
        members, end = _read(line)
    except ValueError as error:
        raise MalformedProof("The line is not JSON.") from error
    if line[end:] != "\n":
        raise MalformedProof("The line goes on after its object.")
    return members


def decode_line(line: str) -> RecordedEvent:
    """The event of a line. Raises MalformedProof for anything that is not an object of these six members."""
    try:
        members = _quickly(line)
    except MsgspecError:
        members = _read_at_length(line)
    if line[-2:] != "}\n":
        raise MalformedProof("The line goes on after its object.")
    if not isinstance(members, dict) or tuple(members) != MEMBERS:
        raise MalformedProof(f"The line is not an object of {', '.join(MEMBERS)}, in this order.")
    position, stream, version, type, body, moment = members.values()
    if not (position.__class__ is version.__class__ is int and 0 < position <= _MAX and 0 < version <= _MAX):
        raise MalformedProof("Its position or version is not a number from 1.")
    if not (stream.__class__ is type.__class__ is body.__class__ is str):
        raise MalformedProof("Its stream, type or body is not a string.")
    if moment != recorded_at(body):
        raise MalformedProof("Its recordedAt is not the timestamp of its body.")
    return RecordedEvent(position, stream, version, type, body)
