"""Who is told of orders: the endpoints, with the secrets that their webhooks are signed with."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ledger.clock import Clock, rfc3339, utc_now
from ledger.errors import InvalidEndpoint, UnknownEndpoint
from ledger.storage import Cursor, Database
from ledger.storage.tables import Row
from projections.webhooks.addresses import ForbiddenTarget, Resolver, allowed_addresses, check_url, port_of, resolve
from projections.webhooks.payloads import TYPES

ROTATION = timedelta(hours=24)
"""How long the former secret signs along with the new one."""

MAX_ENDPOINTS = 100
MOST_DEAD = 100
_SECRET_BYTES = 32
ID_PATTERN = "ep_[0-9a-f]{18}"
_is_id = re.compile(ID_PATTERN).fullmatch
_COLUMNS = "id, url, secret, former_secret, former_until, types, position, disabled, delivered, created_at"
_STANDING = (
    "SELECT id, url, types, position, disabled, delivered, created_at,"
    " (SELECT count(*) FROM webhook_deliveries WHERE endpoint = id AND dead = 0),"
    " (SELECT count(*) FROM webhook_deliveries WHERE endpoint = id AND dead = 0 AND error <> ''),"
    " (SELECT count(*) FROM webhook_deliveries WHERE endpoint = id AND dead = 1),"
    " coalesce((SELECT error FROM webhook_deliveries WHERE endpoint = id AND dead = 0 AND error <> ''"
    " ORDER BY position LIMIT 1), '') FROM webhook_endpoints"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint. ``types`` of webhooks that it wants (none: all); ``position``: up to where the log is queued for it;
    ``disabled``: why nothing is sent to it, or empty; ``waiting``: how many deliveries are to come, of which
    ``failing`` have failed, the first of them by ``error``, and are tried again; ``dead``: how many were given up."""

    id: str
    url: str
    types: Sequence[str]
    position: int
    disabled: str
    delivered: int
    created_at: str
    waiting: int
    failing: int
    dead: int
    error: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up: of which event, and what went wrong last."""

    position: int
    stream: str
    error: str


class Endpoints:
    """The registry. ``private``: URLs may lead anywhere, also without TLS. Methods may raise StorageUnavailable."""

    def __init__(
        self,
        database: Database,
        *,
        private: bool,
        resolver: Resolver = resolve,
        clock: Clock = utc_now,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._private = private
        self._resolver = resolver
        self._clock = clock
        self._random = random

    def all(self) -> list[Endpoint]:
        """Every endpoint, in the order of registration."""
        with self._database.read() as cursor:
            return registered(cursor)

    def get(self, endpoint_id: str) -> Endpoint:
        """An endpoint. Raises UnknownEndpoint."""
        with self._database.read() as cursor:
            return _endpoint(_one(cursor, f"{_STANDING} WHERE id = ?", endpoint_id))

    def register(self, url: str, types: Sequence[str] = (), after: int | None = None) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is shown only now.

        It is told of what comes after position ``after`` (``None``: from now on). Raises InvalidEndpoint.
        """
        self._check(url, types)
        endpoint_id, secret = f"ep_{self._random(9).hex()}", self._new_secret()
        with self._database.transaction() as cursor:
            [(count,)] = cursor.execute("SELECT count(*) FROM webhook_endpoints")
            if count >= MAX_ENDPOINTS:
                raise InvalidEndpoint({"url": [f"There are {MAX_ENDPOINTS} endpoints already."]})
            [(head,)] = cursor.execute("SELECT coalesce(max(position), 0) FROM events")
            start = head if after is None else min(after, head)
            cursor.execute(
                f"INSERT INTO webhook_endpoints ({_COLUMNS}) VALUES (?, ?, ?, '', '', ?, ?, '', 0, ?)",
                (endpoint_id, url, secret, json.dumps(list(types)), start, rfc3339(self._clock())),
            )
        return self.get(endpoint_id), secret

    def remove(self, endpoint_id: str) -> None:
        """Forgets an endpoint and what waits for it. Raises UnknownEndpoint."""
        with self._database.transaction() as cursor:
            hold(cursor, self._database, endpoint_id)
            cursor.execute("DELETE FROM webhook_deliveries WHERE endpoint = ?", (endpoint_id,))
            cursor.execute("DELETE FROM webhook_endpoints WHERE id = ?", (endpoint_id,))

    def rotate(self, endpoint_id: str) -> str:
        """A new secret, shown only now; the former one signs along for a day. Raises UnknownEndpoint."""
        secret = self._new_secret()
        with self._database.transaction() as cursor:
            hold(cursor, self._database, endpoint_id)
            cursor.execute(
                "UPDATE webhook_endpoints SET former_secret = secret, former_until = ?, secret = ? WHERE id = ?",
                (rfc3339(self._clock() + ROTATION), secret, endpoint_id),
            )
        return secret

    def enable(self, endpoint_id: str) -> None:
        """Sends to it again, what has waited included. Raises UnknownEndpoint."""
        with self._database.transaction() as cursor:
            hold(cursor, self._database, endpoint_id)
            cursor.execute("UPDATE webhook_endpoints SET disabled = '' WHERE id = ?", (endpoint_id,))

    def replay(self, endpoint_id: str) -> int:
        """Tries all dead deliveries of an endpoint again, from the beginning; how many. Raises UnknownEndpoint."""
        now = rfc3339(self._clock())
        with self._database.transaction() as cursor:
            hold(cursor, self._database, endpoint_id)
            rows = cursor.execute(
                "UPDATE webhook_deliveries SET dead = 0, attempts = 0, next_at = ?, error = ''"
                " WHERE endpoint = ? AND dead = 1 RETURNING 1",
                (now, endpoint_id),
            )
        return len(rows)

    def discard(self, endpoint_id: str) -> int:
        """Forgets all dead deliveries of an endpoint; how many. Raises UnknownEndpoint."""
        with self._database.transaction() as cursor:
            hold(cursor, self._database, endpoint_id)
            query = "DELETE FROM webhook_deliveries WHERE endpoint = ? AND dead = 1 RETURNING 1"
            return len(cursor.execute(query, (endpoint_id,)))

    def dead(self, endpoint_id: str, after: int = 0) -> list[DeadLetter]:
        """The first MOST_DEAD deliveries that were given up, by position, after a position. Raises UnknownEndpoint."""
        with self._database.read() as cursor:
            _one(cursor, "SELECT 1 FROM webhook_endpoints WHERE id = ?", endpoint_id)
            rows = cursor.execute(
                "SELECT position, stream, error FROM webhook_deliveries WHERE endpoint = ? AND dead = 1"
                " AND position > ? ORDER BY position LIMIT ?",
                (endpoint_id, after, MOST_DEAD),
            )
        return [DeadLetter(*row) for row in rows]

    def _check(self, url: str, types: Sequence[str]) -> None:
        unknown = [each for each in types if each not in TYPES.values()]
        if unknown:
            raise InvalidEndpoint({"types": [f"There is no type {unknown[0][:40]!r}: {', '.join(TYPES.values())}."]})
        try:
            parts = check_url(url, private=self._private)
            allowed_addresses(str(parts.hostname), port_of(parts), self._resolver, private=self._private)
        except ForbiddenTarget as error:
            raise InvalidEndpoint({"url": [str(error)]}) from error
        except (OSError, ValueError) as error:
            raise InvalidEndpoint({"url": ["The host of the URL can't be found."]}) from error

    def _new_secret(self) -> str:
        return f"whsec_{base64.b64encode(self._random(_SECRET_BYTES)).decode()}"


def registered(cursor: Cursor) -> list[Endpoint]:
    """Every endpoint, in the order of registration."""
    return [_endpoint(row) for row in cursor.execute(f"{_STANDING} ORDER BY created_at, id")]


def hold(cursor: Cursor, database: Database, endpoint_id: str) -> None:
    """From now on the endpoint is this transaction's, until it ends. Raises UnknownEndpoint.

    Whoever writes rows of its deliveries holds it first: two who took them crosswise would wait for each other.
    """
    suffix = " FOR UPDATE" if database.dialect == "postgres" else ""
    _one(cursor, f"SELECT 1 FROM webhook_endpoints WHERE id = ?{suffix}", endpoint_id)


def hold_if_free(cursor: Cursor, database: Database, endpoint_id: str) -> Row | None:
    """The same without waiting: ``types`` and ``position``, or ``None`` when somebody else holds or has removed it."""
    suffix = " FOR UPDATE SKIP LOCKED" if database.dialect == "postgres" else ""
    rows = cursor.execute(f"SELECT types, position FROM webhook_endpoints WHERE id = ?{suffix}", (endpoint_id,))
    return rows[0] if rows else None


def _one(cursor: Cursor, query: str, endpoint_id: str) -> Row:
    # What is no id may have characters that a database does not take.
    found = cursor.execute(query, (endpoint_id,)) if _is_id(endpoint_id) else []
    if not found:
        raise UnknownEndpoint(f"There is no webhook endpoint {endpoint_id[:40]!r}.")
    return found[0]


def _endpoint(row: Row) -> Endpoint:
    endpoint_id, url, types, *others = row
    return Endpoint(endpoint_id, url, json.loads(types), *others)
