"""What the routes work with, handed in by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.application import OrderLedger
from ledger.catalogue import Catalogue
from projections.health import Health
from projections.leads import LeadReads
from projections.orders import OrderReads


@dataclass(frozen=True)
class Services:
    """Commands go to ``ledger``; everything else only reads."""

    ledger: OrderLedger
    orders: OrderReads
    leads: LeadReads
    catalogue: Catalogue
    health: Health
