"""The embedded sandbox gateway: intents of Stripe's shape without Stripe, for development and demonstrations.

An intent costs nothing to make and is kept with its order, in the order's own transaction (the ``payment_intents``
table); one whose order was never committed does not exist. What happened to it since is in ``sandbox_settlements``,
and its refunds are in ``sandbox_refunds``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ledger.clock import Clock, rfc3339, utc_now
from ledger.errors import PaymentNotConfirmed, RefundRefused, UnknownOrder, UnknownPayment
from ledger.payments.gateway import Dispute, Intent, PaymentKind, PaymentNotice, Refund, check_repeated
from ledger.storage.database import Cursor, Database
from ledger.storage.tables import Row

INTENT_PREFIX = "pi_sandbox_"
"""What the ids of the sandbox's intents begin with, and no others: it knows nothing of other gateways' payments."""

_UNTOUCHED = ("requires_payment_method", 0, 0)
_ABOVE_ALL = 2**63 - 1
_PAGE = 500
_SELECT = (
    "SELECT order_id, intent_id, client_secret, amount, currency, status, amount_received, amount_refunded"
    " FROM payment_intents LEFT JOIN sandbox_settlements USING (intent_id)"
)


class SandboxGateway:
    """A PaymentGateway; ``settle`` and ``refund_all`` do what a customer and a shop would do at Stripe."""

    def __init__(
        self,
        database: Database,
        *,
        new_token: Callable[[], str] = lambda: secrets.token_hex(12),
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._new_token = new_token
        self._clock = clock

    def create_intent(
        self,
        order_id: int | None,
        amount_in_cents: int,
        currency: str,
        idempotency_key: str,  # noqa: ARG002  a repeat gets another intent, of which only the committed order's exists
    ) -> Intent:
        """A new intent."""
        intent_id = f"{INTENT_PREFIX}{self._new_token()}"
        client_secret = f"{intent_id}_secret_{self._new_token()}"
        return _intent((order_id, intent_id, client_secret, amount_in_cents, currency, *_UNTOUCHED))

    def owns(self, intent_id: str) -> bool:
        """Whether the sandbox made it."""
        return intent_id.startswith(INTENT_PREFIX)

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is now. Raises UnknownPayment when no order has it, or when it is another gateway's."""
        with self._database.read() as cursor:
            return _found(cursor, intent_id)

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancels the intent unless it was paid or cancelled before, and returns it."""
        with self._database.write() as cursor:
            intent = _found(cursor, intent_id)
            if intent.open:
                intent = replace(intent, status="canceled")
                _keep(cursor, intent)
        return intent

    def refund(self, intent_id: str, amount_in_cents: int | None, idempotency_key: str) -> Refund:
        """Refunds, once for each key. Raises RefundRefused when not as much is left."""
        with self._database.write() as cursor:
            query = "SELECT refund_id, amount, intent_id FROM sandbox_refunds WHERE refund_key = ?"
            intent = _found(cursor, intent_id)
            known = cursor.execute(query, (idempotency_key,))
            if known:
                *row, of_intent = known[0]
                made = replace(_refund(intent, *row), intent_id=of_intent)
                check_repeated(made, amount_in_cents, intent)
                return made
            left = intent.amount_received - intent.amount_refunded
            amount = left if amount_in_cents is None else amount_in_cents
            if not 0 < amount <= left:
                raise RefundRefused(f"Of this payment {left} cents are left to refund.")
            return self._make_refund(cursor, intent, amount, idempotency_key)

    def list_refunds(self, intent_id: str) -> Iterator[Refund]:
        """Every refund of the intent."""
        with self._database.read() as cursor:
            intent = _found(cursor, intent_id)
            query = "SELECT refund_id, amount FROM sandbox_refunds WHERE intent_id = ?"
            rows = cursor.execute(query, (intent_id,))
        return (_refund(intent, *row) for row in rows)

    def list_disputes(self, since: datetime) -> Iterator[Dispute]:  # noqa: ARG002  there is nobody to dispute
        """None."""
        return iter(())

    def list_intents(self, since: datetime) -> Iterator[Intent]:  # noqa: ARG002  it does not note when
        """Every intent there is, in order of their orders, the newest first."""
        # Page by page, so that whoever reads them may write meanwhile.
        query = f"{_SELECT} WHERE order_id < ? ORDER BY order_id DESC LIMIT ?"
        before = _ABOVE_ALL
        while True:
            with self._database.read() as cursor:
                rows = cursor.execute(query, (before, _PAGE))
            if not rows:
                return
            yield from (_intent(row) for row in rows if self.owns(row[1]))
            before = rows[-1][0]

    def settle(self, order_id: int, *, fail: bool = False) -> PaymentNotice:
        """Makes the order's payment succeed or fail, and returns the notice that a webhook would bring.

        A payment that succeeded can't fail any more. Raises UnknownOrder, UnknownPayment, and PaymentNotConfirmed when
        the intent was cancelled.
        """
        with self._database.write() as cursor:
            intent = _of_order(cursor, order_id)
            intent, notice = self._settled(intent, fail=fail)
            _keep(cursor, intent)
        return notice

    def refund_all(self, order_id: int) -> PaymentNotice | None:
        """Refunds what is left of an order's payment and returns the notice of it, or ``None`` when nothing ever came.

        Raises UnknownOrder and UnknownPayment.
        """
        with self._database.write() as cursor:
            intent = _of_order(cursor, order_id)
            if not intent.amount_received:
                return None
            left = intent.amount_received - intent.amount_refunded
            if left:
                self._make_refund(cursor, intent, left, f"sandbox-{self._new_token()}")
        return self._notice(PaymentKind.REFUNDED, intent, intent.amount_received)

    def _make_refund(self, cursor: Cursor, intent: Intent, amount: int, key: str) -> Refund:
        refund = _refund(intent, f"re_{self._new_token()}", amount)
        row = (key, refund.id, intent.id, amount)
        cursor.execute(
            "INSERT INTO sandbox_refunds (refund_key, refund_id, intent_id, amount) VALUES (?, ?, ?, ?)", row
        )
        _keep(cursor, replace(intent, amount_refunded=intent.amount_refunded + amount))
        return refund

    def _settled(self, intent: Intent, *, fail: bool) -> tuple[Intent, PaymentNotice]:
        if intent.status == "canceled":
            raise PaymentNotConfirmed(f"The payment of order {intent.order_id} was cancelled.")
        if fail and not intent.amount_received:
            return intent, self._notice(PaymentKind.FAILED, intent, intent.amount)
        intent = replace(intent, status="succeeded", amount_received=intent.amount)
        return intent, self._notice(PaymentKind.RECEIVED, intent, intent.amount_received)

    def _notice(self, kind: PaymentKind, intent: Intent, amount: int) -> PaymentNotice:
        return PaymentNotice(kind, intent.id, amount, intent.currency, rfc3339(self._clock()), intent.order_id)


def _found(cursor: Cursor, intent_id: str) -> Intent:
    return _own(cursor.execute(f"{_SELECT} WHERE intent_id = ?", (intent_id,)))


def _of_order(cursor: Cursor, order_id: int) -> Intent:
    rows = cursor.execute(f"{_SELECT} WHERE order_id = ?", (order_id,))
    if not rows:
        raise UnknownOrder(f"There is no order {order_id}.")
    return _own(rows)


def _own(rows: Sequence[Row]) -> Intent:
    if not rows or not rows[0][1].startswith(INTENT_PREFIX):
        raise UnknownPayment("The embedded sandbox gateway does not know this payment.")
    return _intent(rows[0])


def _keep(cursor: Cursor, intent: Intent) -> None:
    cursor.execute(
        "INSERT INTO sandbox_settlements (intent_id, status, amount_received, amount_refunded)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (intent_id) DO UPDATE SET status = excluded.status,"
        " amount_received = excluded.amount_received, amount_refunded = excluded.amount_refunded",
        (intent.id, intent.status, intent.amount_received, intent.amount_refunded),
    )


def _refund(intent: Intent, refund_id: str, amount: int) -> Refund:
    return Refund(refund_id, intent.id, amount, intent.currency, "succeeded")


def _intent(row: Row) -> Intent:
    order_id, intent_id, client_secret, amount, currency, *state = row
    status, received, refunded = _UNTOUCHED if state[0] is None else state
    return Intent(
        id=intent_id,
        client_secret=client_secret,
        status=status,
        amount=amount,
        amount_received=received,
        amount_refunded=refunded,
        currency=currency,
        order_id=order_id,
    )
