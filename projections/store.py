"""All views of this release, each in its latest definition."""

from __future__ import annotations

from projections import idempotency, leads, orders, payments
from projections.view import View

VIEWS: tuple[View, ...] = (orders.VIEW, idempotency.VIEW, payments.VIEW, leads.VIEW)
