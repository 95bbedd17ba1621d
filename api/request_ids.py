"""The id of a request: the caller's own when it is sane, else a fresh one; echoed on every answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from flask import request

HEADER = "X-Request-Id"
ENVIRON_KEY = "order_ledger.request_id"

# Narrow on purpose: the id goes into logs and events, where it must not start a line, a field or markup.
_acceptable = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}").fullmatch


def fresh_request_id() -> str:
    """A random id."""
    return secrets.token_hex(16)


def request_id(sent: str | None, fresh: Callable[[], str]) -> str:
    """``sent`` when it is acceptable, else a fresh one."""
    return sent if sent is not None and _acceptable(sent) else fresh()


def current_request_id() -> str:
    """The id of the request being served."""
    identity: str = request.environ[ENVIRON_KEY]
    return identity
