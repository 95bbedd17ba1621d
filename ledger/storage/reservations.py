"""Order ids, taken before the gateway is asked for an intent; and found again when the same request comes again."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from ledger.clock import Clock, rfc3339, utc_now
from ledger.storage.database import Database

KEPT = timedelta(minutes=10)
"""How long a retry finds its reservation. Less than the time after which reconciliation cancels an intent without an
order (ledger/payments/comparison.py), so that no retry takes up what is being cancelled."""


class Reservation(NamedTuple):
    """An order's id, and the idempotency key under which the gateway is asked for its intent."""

    order_id: int
    gateway_key: str


class Reservations:
    """Reserves order ids, for KEPT. Every method may raise StorageUnavailable.

    A gateway refuses a key that comes with other parameters than before, and the order's id is one of them. So what a
    retry must find again is kept: it is no part of the log, and of no use once the gateway has forgotten the key.
    """

    def __init__(
        self,
        database: Database,
        *,
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._new_token = new_token
        self._clock = clock

    def fresh(self, _digest: str | None = None) -> Reservation:
        """A new id that nothing remembers: for a request without a key, or a gateway that does not look at keys."""
        order_id = self._database.next_order_ids()[0]
        # Not the id alone: another ledger at the same gateway has the same ids.
        return Reservation(order_id, f"order-{order_id}-{self._new_token()}")

    def held(self, digest: str | None) -> Reservation:
        """The reservation of the request with this digest: the one that was made before, or a new one."""
        if digest is None:
            return self.fresh()
        now = self._clock()
        query = "SELECT order_id, gateway_key FROM order_reservations WHERE digest = ? AND reserved_at >= ?"
        with self._database.read() as cursor:
            rows = cursor.execute(query, (digest, rfc3339(now - KEPT)))
        return Reservation(*rows[0]) if rows else self._hold(digest, now)

    def _hold(self, digest: str, now: datetime) -> Reservation:
        new = self.fresh()
        with self._database.write() as cursor:
            query = "DELETE FROM order_reservations WHERE digest = ? AND reserved_at < ?"
            cursor.execute(query, (digest, rfc3339(now - KEPT)))
            rows = cursor.execute(
                "INSERT INTO order_reservations (digest, order_id, gateway_key, reserved_at) VALUES (?, ?, ?, ?)"
                # A repeat at the same moment may have been faster: then its reservation is the one returned.
                " ON CONFLICT (digest) DO UPDATE SET digest = excluded.digest RETURNING order_id, gateway_key",
                (digest, new.order_id, new.gateway_key, rfc3339(now)),
            )
        return Reservation(*rows[0])

    def prune(self, before: datetime) -> int:
        """Forgets the reservations made before then; returns how many."""
        with self._database.write() as cursor:
            query = "DELETE FROM order_reservations WHERE reserved_at < ? RETURNING order_id"
            return len(cursor.execute(query, (rfc3339(before),)))
