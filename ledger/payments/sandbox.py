"""The embedded sandbox gateway: intents of Stripe's shape without Stripe, for development and demonstrations.

An intent costs nothing to make and is kept with its order, in the order's own transaction (the ``payment_intents``
table); one whose order was never committed does not exist. What happened to it since is in ``sandbox_settlements``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Literal

from ledger.errors import UnknownOrder
from ledger.payments.gateway import Intent, PaymentNotice
from ledger.storage import Database

_UNTOUCHED = ("requires_payment_method", 0, 0)


class SandboxGateway:
    """A PaymentGateway; ``settle`` and ``refund`` do what a customer and a shop would do at Stripe."""

    def __init__(self, database: Database, *, new_token: Callable[[], str] = lambda: secrets.token_hex(12)) -> None:
        self._database = database
        self._new_token = new_token

    def create_intent(
        self,
        order_id: int,  # noqa: ARG002  the port's shape; the order's own commit ties the two together
        amount_in_cents: int,
        currency: str,
        idempotency_key: str,  # noqa: ARG002  see below
    ) -> Intent:
        """A new intent. A repeat with the same key may get another one, of which only the committed order's exists."""
        intent_id = f"pi_{self._new_token()}"
        client_secret = f"{intent_id}_secret_{self._new_token()}"
        return _intent(intent_id, client_secret, amount_in_cents, currency, _UNTOUCHED)

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is now. Raises LookupError when no order has it."""
        intent = self._find("intent_id", intent_id)
        if intent is None:
            raise LookupError(f"no order has the payment intent {intent_id}")
        return intent

    def settle(self, order_id: int, *, fail: bool = False) -> PaymentNotice:
        """Makes the order's payment succeed or fail, and returns the notice that a webhook would bring.

        Settling again answers the same notice. A payment that succeeded can't fail any more. Raises UnknownOrder.
        """
        intent = self._intent_of(order_id)
        outcome: Literal["succeeded", "failed"] = "failed" if fail and not intent.amount_received else "succeeded"
        if outcome == "failed":
            self._keep(intent.id, "requires_payment_method", 0, 0)
        elif not intent.amount_received:
            self._keep(intent.id, "succeeded", intent.amount, 0)
        return PaymentNotice(order_id, intent.id, outcome, f"evt_sandbox_{intent.id.removeprefix('pi_')}_{outcome}")

    def refund(self, order_id: int) -> int:
        """Refunds all that was received and returns it, in cents: 0 when nothing was. Raises UnknownOrder."""
        intent = self._intent_of(order_id)
        if intent.amount_received:
            self._keep(intent.id, intent.status, intent.amount_received, intent.amount_received)
        return intent.amount_received

    def _intent_of(self, order_id: int) -> Intent:
        intent = self._find("order_id", order_id)
        if intent is None:
            raise UnknownOrder(f"There is no order {order_id}.")
        return intent

    def _find(self, column: Literal["order_id", "intent_id"], value: object) -> Intent | None:
        query = (
            "SELECT intent_id, client_secret, amount, currency, status, amount_received, amount_refunded"
            f" FROM payment_intents LEFT JOIN sandbox_settlements USING (intent_id) WHERE {column} = ?"
        )
        with self._database.read() as cursor:
            rows = cursor.execute(query, (value,))
        if not rows:
            return None
        intent_id, client_secret, amount, currency, *state = rows[0]
        return _intent(intent_id, client_secret, amount, currency, _UNTOUCHED if state[0] is None else tuple(state))

    def _keep(self, intent_id: str, status: str, received: int, refunded: int) -> None:
        with self._database.write() as cursor:
            cursor.execute(
                "INSERT INTO sandbox_settlements (intent_id, status, amount_received, amount_refunded)"
                " VALUES (?, ?, ?, ?) ON CONFLICT (intent_id) DO UPDATE SET status = excluded.status,"
                " amount_received = excluded.amount_received, amount_refunded = excluded.amount_refunded",
                (intent_id, status, received, refunded),
            )


def _intent(intent_id: str, client_secret: str, amount: int, currency: str, state: tuple[str, int, int]) -> Intent:
    status, received, refunded = state
    return Intent(
        id=intent_id,
        client_secret=client_secret,
        status=status,
        amount=amount,
        amount_received=received,
        amount_refunded=refunded,
        currency=currency,
    )
