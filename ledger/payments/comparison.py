"""What differs between an intent at the payment gateway and its order in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.clock import rfc3339
from ledger.payments.gateway import Dispute, Intent, PaymentKind, PaymentNotice, Refund
from ledger.statuses import UNPAID, Status

_AT_STRIPE = "refund it in Stripe's dashboard, unless a dispute took it"
"""The ledger itself refunds what came by an order's own intent."""

GRACE = timedelta(minutes=15)
"""How long an intent may be without its order: the commit may be under way, or the client about to try again."""

_PHASES = {
    "requires_action": PaymentKind.REQUIRES_ACTION,
    "processing": PaymentKind.PROCESSING,
    "requires_capture": PaymentKind.AUTHORIZED,
    "canceled": PaymentKind.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger knows of an order and its payment; amounts in cents, ``phase`` as of PaymentKind, "" for none."""

    order_id: int
    intent_id: str
    status: Status
    phase: str
    received: int
    refunded: int
    lost: int
    open_disputes: int
    anomalies: int
    currency: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Mended by cancelling the intent, or by recording ``notice``; else it is for a person, and ``remedy`` says what.

    ``known`` is no difference: both sides agree, and the money has to go back all the same.
    """

    what: str
    cancel: bool = False
    notice: PaymentNotice | None = None
    remedy: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares as of a moment at or before that at which intent and order were read.

    What is told of later moments is newer than what was seen, so notices are dated with it. ``knows`` answers whether
    a notice would add nothing to its order; ``refunds`` asks the gateway for an intent's.
    """

    moment: datetime
    knows: Callable[[PaymentNotice], bool]
    refunds: Callable[[str], Iterable[Refund]]

    def differences(self, intent: Intent, standing: Standing | None) -> Iterator[Difference]:
        """All of them; ``standing`` is that of the order which was recorded with the intent, or which it names."""
        if standing is None:
            return self._without_order(intent)
        if standing.intent_id != intent.id:
            return self._beside(intent, standing)
        return self._own(intent, standing)

    def of_dispute(self, dispute: Dispute) -> Iterator[tuple[PaymentNotice, str]]:
        """What a dispute tells, and in words, when its order does not know."""
        notice = dispute.notice(rfc3339(self.moment))
        if not self.knows(notice):
            what = f"a dispute of {money(dispute.amount, dispute.currency)} is {_words(dispute.status)}"
            yield notice, f"{what}, which the order does not know"

    def _without_order(self, intent: Intent) -> Iterator[Difference]:
        if not intent.refunded:
            kept = money(intent.amount_received - intent.amount_refunded, intent.currency)
            yield Difference(f"{kept} was received for an order that does not exist", remedy=_AT_STRIPE)
        elif intent.created is None or intent.created > self.moment - GRACE:
            return
        elif intent.open:
            yield Difference("it can be paid, and its order does not exist", cancel=True)
        elif intent.status == "processing":
            yield Difference("it is being paid, and its order does not exist", remedy="wait for the outcome")

    def _beside(self, intent: Intent, standing: Standing) -> Iterator[Difference]:
        beside = f"beside {standing.intent_id}, the order's own"
        if intent.open:
            yield Difference(f"it can be paid {beside}", cancel=True)
        if not intent.amount_received:
            return
        what = f"{money(intent.amount_received, intent.currency)} was received {beside}"
        notice = self._notice(PaymentKind.RECEIVED, intent, intent.amount_received, standing)
        if not self.knows(notice):
            yield Difference(what, notice=notice)
        if not intent.refunded:
            yield Difference(f"{what}, and not refunded", remedy=_AT_STRIPE, known=True)

    def _own(self, intent: Intent, standing: Standing) -> Iterator[Difference]:
        if standing.status not in UNPAID and intent.open:
            yield Difference(f"it can be paid, and the order is {standing.status}", cancel=True)
            return
        for what, notice in self._untold(intent, standing):
            if not self.knows(notice):
                yield Difference(f"{what}, which the order does not know", notice=notice)
        yield from self._of_refunds(intent, standing)
        if standing.received > intent.amount_received:
            yield _sums_differ("received", standing, standing.received, intent.amount_received)

    def _of_refunds(self, intent: Intent, standing: Standing) -> Iterator[Difference]:
        # One by one: the sum of them falls again when one fails, and can't tell which are known.
        if intent.amount_refunded == standing.refunded:
            return
        notices = (refund.notice(rfc3339(self.moment)) for refund in self.refunds(intent.id))
        missed = [notice for notice in notices if not self.knows(notice)]
        for notice in missed:
            what = f"a refund of {money(notice.amount, notice.currency)} is {_words(str(notice.detail))}"
            yield Difference(f"{what}, which the order does not know", notice=notice)
        if not missed:
            yield _sums_differ("refunded", standing, standing.refunded, intent.amount_refunded)

    def _untold(self, intent: Intent, standing: Standing) -> Iterator[tuple[str, PaymentNotice]]:
        """What the order's own intent is seen to be and the order may not know, in words and as a notice."""
        if intent.amount_received > standing.received:
            what = f"{money(intent.amount_received, intent.currency)} was received"
            yield what, self._notice(PaymentKind.RECEIVED, intent, intent.amount_received, standing)
        failed = intent.status == "requires_payment_method" and intent.failure is not None
        phase = PaymentKind.FAILED if failed else _PHASES.get(intent.status)
        # It matters while the order waits for it: a cancelled intent is what an order has that was given up, or paid
        # in another way.
        if phase is not None and phase != standing.phase and standing.status in UNPAID:
            detail = intent.failure if failed else None
            yield f"its payment is {phase}", self._notice(phase, intent, intent.amount, standing, detail)

    def _notice(
        self, kind: PaymentKind, intent: Intent, amount: int, standing: Standing, detail: str | None = None
    ) -> PaymentNotice:
        occurred_at = rfc3339(self.moment)
        return PaymentNotice(kind, intent.id, amount, intent.currency, occurred_at, standing.order_id, detail=detail)


def _sums_differ(what: str, standing: Standing, here: int, there: int) -> Difference:
    known, told = money(here, standing.currency), money(there, standing.currency)
    return Difference(f"{known} was {what} for the order, {told} for the gateway", remedy="look into it")


def _words(status: str) -> str:
    return status.replace("_", " ")


def money(amount: int, currency: str) -> str:
    """An amount in cents for people to read: ``19.99 usd``."""
    return f"{amount // 100}.{amount % 100:02} {currency}"
