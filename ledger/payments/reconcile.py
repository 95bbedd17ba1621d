"""Compares the ledger with the payment gateway, from both sides, and mends what needs no person to decide.

Each difference between an intent and its order is looked at a second time, with both as they are then, before anything
is said or done: between a page of the gateway's list and the ledger's answer the two may have moved on. What is done is
safe at any time and twice at once: the gateway cancels only what is open, and the order records only what it does not
know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from ledger.actor import PAYMENTS, Actor, Cause
from ledger.clock import Clock
from ledger.errors import UnknownPayment
from ledger.payments.comparison import Comparison, Difference, Standing
from ledger.payments.findings import Batch, Finding, State, noted, owing
from ledger.payments.gateway import Intent, PaymentGateway, PaymentNotice

RESERVATIONS_KEPT = timedelta(days=1)
"""Longer than any of them is of use."""

DISPUTES_LAST = timedelta(days=120)
"""How long after its beginning a dispute may still be decided (https://docs.stripe.com/disputes/how-disputes-work)."""

EVER = datetime.fromtimestamp(0, UTC)
_BATCH = 100  # as many as a page of Stripe's list has


class Standings(Protocol):
    """Reads the ledger's side. Every method may raise StorageUnavailable."""

    def of(self, intents: Sequence[Intent]) -> list[Standing]:
        """Where the orders stand that were recorded with these intents, or that these intents name."""

    def with_intents(self, intent_ids: Sequence[str]) -> list[Standing]:
        """Where the orders stand that were recorded with these intents."""

    def placed_since(self, since: datetime) -> Iterator[list[Standing]]:
        """Every order placed since then, newest first, page by page."""

    def owing(self) -> Iterator[list[Standing]]:
        """Every order that money is kept for though it is given up or counts as unpaid, page by page."""


class Commands(Protocol):
    """The part of OrderLedger that is needed here."""

    def record_payment(self, notice: PaymentNotice, *, actor: Actor, cause: Cause) -> object:
        """Records what has happened to an order's payment."""

    def knows_payment(self, notice: PaymentNotice) -> bool:
        """Whether recording it would add nothing."""


class Reserved(Protocol):
    """The order ids that are reserved for requests which may be sent again."""

    def prune(self, before: datetime) -> int:
        """Forgets those made before; returns how many."""


class _OrderIds:
    """A set of order ids in an eighth of a byte each, for they are drawn from a counter."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def update(self, order_ids: Iterable[int]) -> None:
        for order_id in order_ids:
            place, bit = divmod(order_id, 8)
            self._bits.extend(bytes(max(0, place + 1 - len(self._bits))))
            self._bits[place] |= 1 << bit

    def __contains__(self, order_id: int) -> bool:
        place, bit = divmod(order_id, 8)
        return place < len(self._bits) and bool(self._bits[place] >> bit & 1)


@dataclass
class Reconciler:
    """One reconciliation: first ``intents``, then ``disputes``, then ``orders``, which asks only for what was not met
    before, then ``owing``.

    Without ``fix`` nothing is changed. ``run_id`` is the request id of the events that it records. What the gateway
    and the database raise ends it; what was mended stays so, and the next run goes on from there.
    """

    ledger: Commands
    gateway: PaymentGateway
    standings: Standings
    reservations: Reserved
    clock: Clock
    run_id: str
    fix: bool
    _met: _OrderIds = field(default_factory=_OrderIds)

    def intents(self, since: datetime) -> Iterator[Batch]:
        """Compares every intent at the gateway made since then with its order; intents of no order are left out."""
        listed = iter(self.gateway.list_intents(since))
        while intents := list(islice(listed, _BATCH)):
            # This first look only finds the pairs that need a second one.
            comparison, standings = self._now(), self.standings.of(intents)
            pairs = [(intent, _standing_of(intent, standings)) for intent in intents]
            self._met.update(order.order_id for intent, order in pairs if order and order.intent_id == intent.id)
            ours = [(intent, order) for intent, order in pairs if order or intent.order_id is not None]
            yield Batch(len(ours), [finding for pair in ours for finding in self._compared(comparison, *pair)])

    def orders(self, since: datetime) -> Iterator[Batch]:
        """Compares every order placed since then whose intent was not in the list with its intent.

        Orders that were begun at another gateway are left out. What somebody should look at in any case is noted.
        """
        for page in self.standings.placed_since(since):
            own = [standing for standing in page if self.gateway.owns(standing.intent_id)]
            missed = [standing for standing in own if standing.order_id not in self._met]
            findings = [finding for standing in missed for finding in self._retrieved(standing)]
            yield Batch(len(missed), findings + [finding for standing in page for finding in noted(standing)])

    def disputes(self, since: datetime) -> Iterator[Batch]:
        """Compares every dispute that may have begun or ended since then with what its order knows."""
        listed = iter(self.gateway.list_disputes(max(EVER, since - DISPUTES_LAST)))
        while disputes := list(islice(listed, _BATCH)):
            standings = self.standings.with_intents([dispute.intent_id for dispute in disputes])
            orders = {standing.intent_id: standing for standing in standings}
            ours = [dispute for dispute in disputes if dispute.intent_id in orders]
            comparison = self._now()
            missed = ((notice, what) for dispute in ours for notice, what in comparison.of_dispute(dispute))
            yield Batch(0, [self._recorded(notice, what, orders[notice.intent_id].order_id) for notice, what in missed])

    def owing(self) -> Iterator[Batch]:
        """The orders that money is kept for and that do not have it coming: no difference, but somebody has to act."""
        for page in self.standings.owing():
            yield Batch(0, [owing(standing) for standing in page])

    def prune(self) -> int:
        """Forgets reservations that no repeat of a request can need any more; returns how many."""
        return self.reservations.prune(self.clock() - RESERVATIONS_KEPT) if self.fix else 0

    def _now(self) -> Comparison:
        # In whole seconds, as the gateway's own times are: what it tells of the same second is compared by its kind.
        moment = self.clock().replace(microsecond=0)
        return Comparison(moment, self.ledger.knows_payment, self.gateway.list_refunds)

    def _retrieved(self, standing: Standing) -> Iterator[Finding]:
        comparison = self._now()
        try:
            intent = self.gateway.retrieve_intent(standing.intent_id)
        except UnknownPayment:
            what, remedy = "the gateway knows no such payment intent", "is this the account of this ledger?"
            yield Finding(standing.order_id, standing.intent_id, what, remedy, State.FOR_A_PERSON)
        else:
            yield from self._compared(comparison, intent, standing)

    def _compared(self, comparison: Comparison, intent: Intent, standing: Standing | None) -> Iterator[Finding]:
        if not any(comparison.differences(intent, standing)):
            return
        anew = self._now()
        # The order first: what happens in between is then the gateway's news, and no sum that it can't explain.
        standing = _standing_of(intent, self.standings.of([intent]))
        intent = self.gateway.retrieve_intent(intent.id)
        for difference in anew.differences(intent, standing):
            yield from self._dealt_with(difference, intent, standing)

    def _dealt_with(self, difference: Difference, intent: Intent, standing: Standing | None) -> Iterator[Finding]:
        order_id = standing.order_id if standing else intent.order_id or 0
        if difference.known:
            state, remedy = State.KNOWN, difference.remedy
        elif not difference.cancel and difference.notice is None:
            state, remedy = State.FOR_A_PERSON, difference.remedy
        elif difference.notice is not None:
            yield self._recorded(difference.notice, difference.what, order_id)
            return
        elif not self.fix:
            state, remedy = State.MENDABLE, "--fix cancels it"
        else:
            after = self.gateway.cancel_intent(intent.id)
            if after.status != "canceled":  # since it was seen open it was paid, or is being paid
                yield from self._not_cancelled(after)
                return
            state, remedy = State.MENDED, "cancelled"
        yield Finding(order_id, intent.id, difference.what, remedy, state)

    def _recorded(self, notice: PaymentNotice, what: str, order_id: int) -> Finding:
        if not self.fix:
            return Finding(order_id, notice.intent_id, what, "--fix records it", State.MENDABLE)
        self.ledger.record_payment(notice, actor=PAYMENTS, cause=Cause(request_id=self.run_id))
        return Finding(order_id, notice.intent_id, what, "recorded", State.MENDED)

    def _not_cancelled(self, intent: Intent) -> Iterator[Finding]:
        comparison, standing = self._now(), _standing_of(intent, self.standings.of([intent]))
        for difference in comparison.differences(intent, standing):
            if not difference.cancel:
                yield from self._dealt_with(difference, intent, standing)


def _standing_of(intent: Intent, standings: Sequence[Standing]) -> Standing | None:
    """Of the order that was recorded with the intent; else of the one that the intent names."""
    own = next((standing for standing in standings if standing.intent_id == intent.id), None)
    return own or next((standing for standing in standings if standing.order_id == intent.order_id), None)
