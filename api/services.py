"""What the routes work with, handed in by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.application import OrderLedger
from ledger.catalogue import Catalogue
from ledger.observer import Observed
from projections.cosignatures import Cosignatures
from projections.health import Health
from projections.history import HistoryReads
from projections.leads import LeadReads
from projections.log import LogReads
from projections.orders import OrderReads
from projections.overview import OverviewReads
from projections.payments import PaymentReads
from projections.proofs import ProofReads
from projections.search import OrderSearch
from projections.webhooks.endpoints import Endpoints

if TYPE_CHECKING:
    from ledger.payments.stripe_notices import StripeWebhooks  # imports the stripe library, which takes its time


@dataclass(frozen=True)
class Services:
    """Commands go to ``ledger``; everything else only reads. Without ``webhooks`` none are taken.

    ``observed`` is where whoever counts is told what happens inside.
    """

    ledger: OrderLedger
    orders: OrderReads
    payments: PaymentReads
    history: HistoryReads
    log: LogReads
    overview: OverviewReads
    search: OrderSearch
    proofs: ProofReads
    cosignatures: Cosignatures
    leads: LeadReads
    endpoints: Endpoints
    catalogue: Catalogue
    currency: str
    health: Health
    webhooks: StripeWebhooks | None = None
    observed: Observed = field(default_factory=Observed)
