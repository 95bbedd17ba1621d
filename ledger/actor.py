"""Who caused an event, and why: recorded with every event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NotRequired, TypedDict


class Role(StrEnum):
    """What an actor may do. Bearer tokens carry the first four; the others belong to the ledger itself."""

    CUSTOMER = "customer"
    STAFF = "staff"
    AUDITOR = "auditor"
    ADMIN = "admin"
    PAYMENTS = "payments"
    OPERATOR = "operator"


MOVERS = frozenset({Role.STAFF, Role.ADMIN, Role.PAYMENTS})
"""Roles that may make every move in the status table."""

READERS = frozenset({Role.STAFF, Role.AUDITOR, Role.ADMIN, Role.PAYMENTS, Role.OPERATOR})
"""Roles that may see every order."""


class ActorRecord(TypedDict):
    """An actor as events store it."""

    user: int | None
    role: str
    impersonated_by: NotRequired[int]


class CauseRecord(TypedDict, total=False):
    """A cause as events store it: only the keys that apply."""

    request_id: str
    idempotency_key: str
    request_hash: str
    stripe_event_id: str
    reason: str
    trace_id: str
    part_of_version: int


@dataclass(frozen=True, slots=True)
class Actor:
    """The user (``None`` for the ledger itself) and role acting; ``impersonated_by`` is RFC 8693's ``act.sub``."""

    user: int | None
    role: Role
    impersonated_by: int | None = None

    def may_see(self, owner: int) -> bool:
        """Whether this actor may know that an order of ``owner`` exists."""
        return self.role in READERS or self.user == owner

    def record(self) -> ActorRecord:
        """The JSON object kept in events."""
        record: ActorRecord = {"user": self.user, "role": self.role.value}
        if self.impersonated_by is not None:
            record["impersonated_by"] = self.impersonated_by
        return record


PAYMENTS = Actor(None, Role.PAYMENTS)
"""Whoever tells what the payment gateway says: its notices, or the ledger that has asked it."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What led to an event: an HTTP request (with its idempotency key and request hash) or a Stripe event.

    ``reason`` is what the person who asked for it has given, for people; ``trace_id`` is of the W3C's Trace Context.
    """

    request_id: str | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    stripe_event_id: str | None = None
    reason: str | None = None
    trace_id: str | None = None

    def record(self, part_of_version: int | None = None) -> CauseRecord:
        """The JSON object kept in events; absent parts are left out.

        A cause that leads to two events at once belongs to the last of them; the one before names that one's version.
        """
        record: CauseRecord = {}
        if self.request_id is not None:
            record["request_id"] = self.request_id
        if self.idempotency_key is not None and self.request_hash is not None:
            record["idempotency_key"] = self.idempotency_key
            record["request_hash"] = self.request_hash
        if self.stripe_event_id is not None:
            record["stripe_event_id"] = self.stripe_event_id
        if self.reason is not None:
            record["reason"] = self.reason
        if self.trace_id is not None:
            record["trace_id"] = self.trace_id
        if part_of_version is not None:
            record["part_of_version"] = part_of_version
        return record
