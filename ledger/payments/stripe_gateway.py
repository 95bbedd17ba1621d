"""Stripe as a payment gateway, through its own library.

Stripe's answers to an idempotency key last, those of its failures too: https://docs.stripe.com/api/idempotent_requests
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import stripe

from ledger.errors import PaymentsUnavailable
from ledger.observer import Observed
from ledger.payments.breaker import Breaker, TurnedAway
from ledger.payments.gateway import OPEN_INTENT, Dispute, Intent, Refund, check_repeated
from ledger.payments.sandbox import INTENT_PREFIX as SANDBOX_PREFIX
from ledger.payments.stripe_http import BoundedClient
from ledger.payments.stripe_objects import Stamp, dispute_of, intent_of, refund_of
from ledger.payments.stripe_refusals import is_outage, of_amount, of_intent, of_refund, translated

if TYPE_CHECKING:  # a thousand modules, of which none is needed to run
    from stripe.params import PaymentIntentCreateParams, RefundCreateParams, RefundListParams

API_VERSION = "2026-10-28.endive"
"""The API whose objects are read here, whatever the account's default: https://docs.stripe.com/api/versioning"""
RETRIES = 2
_PAGE = 100
_KEYS = 3
_REQUEST = "ledger_request"
T = TypeVar("T")
Listed = TypeVar("Listed", stripe.PaymentIntent, stripe.Refund, stripe.Dispute)


class StripeGateway:
    """A PaymentGateway. ``seconds`` bounds each call with all its retries; ``places`` bounds the calls at one time."""

    def __init__(
        self,
        secret_key: str,
        stamp: Stamp,
        *,
        api_base: str,
        seconds: float,
        places: int,
        timer: Callable[[], float] = time.monotonic,
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
        observed: Observed | None = None,
    ) -> None:
        stripe.enable_telemetry = False
        # At lower levels the library logs whole answers, and client secrets with them.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._http = BoundedClient(seconds, timer)
        client = stripe.StripeClient(
            secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base},
            max_network_retries=RETRIES,
            http_client=self._http,
        )
        self._intents, self._refunds, self._disputes = client.v1.payment_intents, client.v1.refunds, client.v1.disputes
        self._breaker = Breaker(is_outage, places=places, timer=timer)
        self._stamp = stamp
        self._new_token = new_token
        self._timer = timer
        self._observed = observed or Observed()

    def create_intent(self, order_id: int | None, amount_in_cents: int, currency: str, idempotency_key: str) -> Intent:
        """A new intent, or the one made before with the same key."""
        params: PaymentIntentCreateParams = {
            "amount": amount_in_cents,
            "currency": currency,
            "automatic_payment_methods": {"enabled": True},
            "metadata": self._stamp.metadata(order_id),
        }

        def create(key: str) -> stripe.PaymentIntent:
            return self._intents.create(params, {"idempotency_key": key})

        def create_once() -> stripe.PaymentIntent:
            # What Stripe may have made before it failed can't be paid, as nobody has its client secret.
            return _unstuck(create, idempotency_key, stripe.StripeError)

        with translated(of_amount):
            return intent_of(self._call("create_intent", create_once), self._stamp)

    def owns(self, intent_id: str) -> bool:
        """Whether it is not one of the sandbox's, which a ledger may have had before."""
        return not intent_id.startswith(SANDBOX_PREFIX)

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is now."""
        with translated(of_intent):
            return intent_of(self._call("retrieve_intent", lambda: self._retrieve(intent_id)), self._stamp)

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancels the intent if it is open."""

        def cancel() -> stripe.PaymentIntent:
            found = self._retrieve(intent_id)
            if found.status not in OPEN_INTENT:
                return found
            # The key is new: a refusal is kept with its key, and the intent may be open again by the next time.
            options: stripe.RequestOptions = {"idempotency_key": f"cancel-{intent_id}-{self._new_token()}"}
            try:
                return self._intents.cancel(intent_id, {}, options)
            except stripe.InvalidRequestError as error:
                if error.code != "payment_intent_unexpected_state":
                    raise
                return self._retrieve(intent_id)

        with translated(of_intent):
            intent = intent_of(self._call("cancel_intent", cancel), self._stamp)
        if intent.open:
            raise PaymentsUnavailable("The payment is changing just now; send the request again.")
        return intent

    def refund(self, intent_id: str, amount_in_cents: int | None, idempotency_key: str) -> Refund:
        """Refunds an amount, or all that is left.

        The key is kept in the refund's metadata, too: Stripe forgets keys after a day, and money would go back twice.
        """
        params: RefundCreateParams = {"payment_intent": intent_id, "metadata": {_REQUEST: idempotency_key}}
        if amount_in_cents is not None:
            params["amount"] = amount_in_cents

        def create(key: str) -> stripe.Refund:
            return self._refunds.create(params, {"idempotency_key": key})

        known = False

        def refund_once() -> stripe.Refund:
            nonlocal known
            made = self._refund_for(idempotency_key, intent_id)
            known = made is not None
            # Only a refusal says for certain that no money went back.
            return made or _unstuck(create, idempotency_key, stripe.InvalidRequestError)

        with translated(of_refund):
            refund = refund_of(self._call("refund", refund_once), intent_id)
        if known:  # else Stripe has compared what is asked for under the key
            check_repeated(refund, amount_in_cents, self.retrieve_intent(intent_id))
        return refund

    def list_refunds(self, intent_id: str) -> Iterator[Refund]:
        """Every refund of the intent, newest first. Each page is a call of its own."""
        return self._all(self._refunds.list, lambda found: refund_of(found, intent_id), payment_intent=intent_id)

    def list_intents(self, since: datetime) -> Iterator[Intent]:
        """Every intent made since then, newest first. Each page is a call of its own."""
        expand = ["data.latest_charge"]
        return self._all(self._intents.list, lambda it: intent_of(it, self._stamp), created=_from(since), expand=expand)

    def list_disputes(self, since: datetime) -> Iterator[Dispute]:
        """Every dispute begun since then about an intent, newest first. Each page is a call of its own."""
        listed = self._all(self._disputes.list, dispute_of, created=_from(since))
        return (dispute for dispute in listed if dispute is not None)

    def _refund_for(self, idempotency_key: str, intent_id: str) -> stripe.Refund | None:
        params: RefundListParams = {"payment_intent": intent_id, "limit": _PAGE}
        while True:
            page = self._refunds.list(params)
            for refund in page.data:
                if refund.metadata and refund.metadata.to_dict().get(_REQUEST) == idempotency_key:
                    return refund
            if not page.has_more:
                return None
            params["starting_after"] = page.data[-1].id

    def _all(
        self, list_page: Callable[[Any], stripe.ListObject[Listed]], read: Callable[[Listed], T], **params: object
    ) -> Iterator[T]:
        asked: dict[str, object] = {"limit": _PAGE, **params}
        while True:
            with translated(of_intent):
                page = self._call("list", partial(list_page, asked))
                found = list(map(read, page.data))
            yield from found
            if not page.has_more:
                return
            asked = {**asked, "starting_after": page.data[-1].id}

    def _retrieve(self, intent_id: str) -> stripe.PaymentIntent:
        return self._intents.retrieve(intent_id, {"expand": ["latest_charge"]})

    def _call(self, operation: str, work: Callable[[], T]) -> T:
        """What the library raises, and TurnedAway."""
        began, outcome = self._timer(), "failed"
        try:
            with self._http.one_call():
                result = self._breaker.call(work)
            outcome = "answered"
            return result
        except TurnedAway:
            outcome = "turned away"
            raise
        except stripe.StripeError as error:
            outcome = "failed" if is_outage(error) else "refused"
            raise
        finally:
            self._observed.by.called(operation, outcome, self._timer() - began)
            self._observed.by.turned(away=self._breaker.open)


def _unstuck(create: Callable[[str], T], idempotency_key: str, failure: type[stripe.StripeError]) -> T:
    """What is created under the key, or under one made from it where Stripe only repeats that the first one failed."""
    keys = [idempotency_key, *(f"{idempotency_key}-{number}" for number in range(2, _KEYS + 1))]
    for key in keys[:-1]:
        try:
            return create(key)
        except failure as error:
            if "Idempotent-Replayed" not in (error.headers or {}):
                raise
    return create(keys[-1])


def _from(since: datetime) -> dict[str, int]:
    return {"gte": int(since.timestamp())}
