"""What the ledger needs from outside."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger.catalogue import Catalogue
from ledger.clock import Clock, utc_now
from ledger.observer import Observed
from ledger.payments.gateway import PaymentGateway
from ledger.receipts import Receipts
from ledger.storage.recorder import LogRecorder
from ledger.storage.reservations import Reservation


@dataclass(frozen=True, slots=True)
class Ports:
    """What the ledger needs from outside: all of it is injected."""

    recorder: LogRecorder
    receipts: Receipts
    gateway: PaymentGateway
    catalogue: Catalogue
    currency: str
    reserve_order: Callable[[str | None], Reservation]
    order_of_intent: Callable[[str], int | None]
    new_token: Callable[[], str] = lambda: secrets.token_hex(16)
    clock: Clock = utc_now
    observed: Observed = field(default_factory=Observed)
