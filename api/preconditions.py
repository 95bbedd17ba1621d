"""Conditional requests (RFC 9110): an order's version is its entity tag."""

from __future__ import annotations

import re

from api.problems import Refusal

_TAG = r'(?:W/)?"[!#-~]*"'
IF_MATCH_PATTERN = rf"^(\*|{_TAG}([ \t]*,[ \t]*{_TAG})*)$"
"""What an If-Match header may look like, for the server and for the documentation."""

NO_VERSION = 0
"""A version that no order has: expecting it always fails."""

_well_formed = re.compile(IF_MATCH_PATTERN).fullmatch
_strong_versions = re.compile(r'(?<!W/)"([1-9][0-9]{0,15})"').findall
_opaque_tags = re.compile(r'"[^"]*"').findall


def etag(version: int) -> str:
    """The entity tag of an order's version."""
    return f'"{version}"'


def is_not_modified(if_none_match: str, tag: str) -> bool:
    """Whether the client already has ``tag``. Weak comparison; a malformed header matches nothing."""
    return if_none_match.strip() == "*" or tag in _opaque_tags(if_none_match)


def expected_versions(if_match: str | None) -> list[int] | None:
    """The versions that If-Match allows; ``None`` when any will do. Refuses a malformed header.

    Weak tags and tags that are no version never match (RFC 9110 asks for strong comparison), so the answer may be
    a list of NO_VERSION alone.
    """
    if if_match is None or if_match == "*":
        return None
    if not _well_formed(if_match):
        raise Refusal("invalid-header", 'If-Match must be "*" or a list of quoted entity tags.')
    return [int(version) for version in _strong_versions(if_match)] or [NO_VERSION]
