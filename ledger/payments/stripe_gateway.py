"""Stripe as a payment gateway, through its own library.

Stripe's answers to an idempotency key last, those of its failures too: https://docs.stripe.com/api/idempotent_requests
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import stripe

from ledger.errors import IdempotencyKeyReused, InvalidAmount, PaymentsUnavailable, RefundRefused, UnknownPayment
from ledger.payments.breaker import Breaker, TurnedAway
from ledger.payments.gateway import Intent, Refund
from ledger.payments.stripe_http import BoundedClient

if TYPE_CHECKING:  # a thousand modules, of which none is needed to run
    from stripe.params import PaymentIntentCreateParams, PaymentIntentListParams, RefundCreateParams

API_VERSION = "2026-10-28.endive"
"""The API whose objects this module reads, whatever the account's default: https://docs.stripe.com/api/versioning"""
RETRIES = 2
_PAGE = 100
_ORDER_ID = "order_id"
_ABOUT_THE_REQUEST = (stripe.InvalidRequestError, stripe.CardError)
_AMOUNT_CODES = frozenset({"amount_too_small", "amount_too_large"})
T = TypeVar("T")
_log = logging.getLogger(__name__)


class StripeGateway:
    """A PaymentGateway. ``seconds`` bounds each call with all its retries; ``places`` bounds the calls at one time."""

    def __init__(
        self,
        secret_key: str,
        *,
        api_base: str,
        seconds: float,
        places: int,
        timer: Callable[[], float] = time.monotonic,
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
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
        self._intents, self._refunds = client.v1.payment_intents, client.v1.refunds
        self._breaker = Breaker(_is_outage, places=places, timer=timer)
        self._new_token = new_token

    def create_intent(self, order_id: int | None, amount_in_cents: int, currency: str, idempotency_key: str) -> Intent:
        """A new intent, or the one made before with the same key."""
        params: PaymentIntentCreateParams = {
            "amount": amount_in_cents,
            "currency": currency,
            "automatic_payment_methods": {"enabled": True},
            "metadata": {} if order_id is None else {_ORDER_ID: str(order_id)},
        }

        def create(key: str) -> stripe.PaymentIntent:
            return self._intents.create(params, {"idempotency_key": key})

        def create_once() -> stripe.PaymentIntent:
            try:
                return create(idempotency_key)
            except stripe.APIError as error:
                if "Idempotent-Replayed" not in (error.headers or {}):
                    raise
                # Stripe failed, and will say so to this key for a day. What it may have made before it failed can't
                # be paid, as nobody has its client secret.
                return create(f"{idempotency_key}-again")

        with _refusals(_of_amount):
            return _intent(self._call(create_once))

    def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is now."""
        with _refusals(_of_intent):
            return _intent(self._call(lambda: self._retrieve(intent_id)))

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancels the intent if it is open."""

        def cancel() -> stripe.PaymentIntent:
            found = self._retrieve(intent_id)
            if not _intent(found).open:
                return found
            # The key is new: a refusal is kept with its key, and the intent may be open again by the next time.
            options: stripe.RequestOptions = {"idempotency_key": f"cancel-{intent_id}-{self._new_token()}"}
            try:
                return self._intents.cancel(intent_id, {}, options)
            except stripe.InvalidRequestError as error:
                if error.code != "payment_intent_unexpected_state":
                    raise
                return self._retrieve(intent_id)

        with _refusals(_of_intent):
            intent = _intent(self._call(cancel))
        if intent.open:
            raise PaymentsUnavailable("The payment is changing just now; send the request again.")
        return intent

    def refund(self, intent_id: str, amount_in_cents: int | None, idempotency_key: str) -> Refund:
        """Refunds an amount, or all that is left."""
        params: RefundCreateParams = {"payment_intent": intent_id}
        if amount_in_cents is not None:
            params["amount"] = amount_in_cents
        with _refusals(_of_refund):
            refund = self._call(lambda: self._refunds.create(params, {"idempotency_key": idempotency_key}))
        return Refund(refund.id, intent_id, refund.amount, refund.currency, refund.status or "pending")

    def list_intents(self, since: datetime) -> Iterator[Intent]:
        """Every intent made since then, newest first. Each page is a call of its own."""
        after: str | None = None
        while True:
            page = self._call(lambda after=after: self._page(since, after))  # type: ignore[misc]
            yield from map(_intent, page.data)
            if not page.has_more:
                return
            after = page.data[-1].id

    def _page(self, since: datetime, after: str | None) -> stripe.ListObject[stripe.PaymentIntent]:
        params: PaymentIntentListParams = {
            "limit": _PAGE,
            "created": {"gte": int(since.timestamp())},
            "expand": ["data.latest_charge"],
        }
        if after is not None:
            params["starting_after"] = after
        return self._intents.list(params)

    def _retrieve(self, intent_id: str) -> stripe.PaymentIntent:
        return self._intents.retrieve(intent_id, {"expand": ["latest_charge"]})

    def _call(self, work: Callable[[], T]) -> T:
        """Raises PaymentsUnavailable, IdempotencyKeyReused, and the library's errors about what was asked."""
        try:
            with self._http.one_call():
                return self._breaker.call(work)
        except TurnedAway as error:
            raise PaymentsUnavailable(f"The payment gateway was not asked: {error}.") from None
        except stripe.IdempotencyError:
            raise IdempotencyKeyReused("The payment gateway knows this Idempotency-Key from another request.") from None
        except _ABOUT_THE_REQUEST:
            raise
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            _log.error("Stripe does not accept STRIPE_SECRET_KEY, or not for this: %s", _described(error))
            raise PaymentsUnavailable("The payment gateway does not let the ledger in.") from None
        except stripe.StripeError as error:
            _log.warning("Stripe can't be reached, or did not do its work: %s", _described(error))
            raise PaymentsUnavailable("The payment gateway can't be reached; send the request again.") from None


def _intent(found: stripe.PaymentIntent) -> Intent:
    charge, failure = found.latest_charge, found.last_payment_error
    order_id = found.metadata[_ORDER_ID] if _ORDER_ID in found.metadata else ""  # noqa: SIM401  it has no get
    return Intent(
        id=found.id,
        client_secret=found.client_secret or "",
        status=found.status,
        amount=found.amount,
        amount_received=found.amount_received,
        amount_refunded=charge.amount_refunded if isinstance(charge, stripe.Charge) else 0,
        currency=found.currency,
        order_id=int(order_id) if re.fullmatch(r"[1-9]\d{0,15}", order_id, re.ASCII) else None,
        created=datetime.fromtimestamp(found.created, UTC),
        failure=getattr(failure, "decline_code", None) or getattr(failure, "code", None),  # absent where they are not
    )


@contextmanager
def _refusals(meaning: Callable[[stripe.StripeError], Exception]) -> Iterator[None]:
    """Raises what a refusal of the request means to the ledger."""
    try:
        yield
    except _ABOUT_THE_REQUEST as error:
        raise meaning(error) from None


def _of_amount(error: stripe.StripeError) -> Exception:
    if error.code in _AMOUNT_CODES:
        return InvalidAmount({"amount": [f"The payment gateway does not take such an amount: {error.code}."]})
    return _misunderstood(error)


def _of_intent(error: stripe.StripeError) -> Exception:
    if error.code == "resource_missing":
        return UnknownPayment("The payment gateway does not know this payment.")
    return _misunderstood(error)


def _of_refund(error: stripe.StripeError) -> Exception:
    if error.code == "resource_missing":
        return _of_intent(error)
    return RefundRefused(f"The payment gateway refuses this refund: {_code(error)}.")


def _misunderstood(error: stripe.StripeError) -> Exception:
    _log.error("Stripe refuses a request that should make sense: %s", _described(error))
    return PaymentsUnavailable("The payment gateway refuses what it is asked.")


def _is_outage(error: Exception) -> bool:
    """Whether it tells of Stripe's state, and not of this one request."""
    if isinstance(error, stripe.APIConnectionError | stripe.RateLimitError):
        return True
    return isinstance(error, stripe.APIError) and error.http_status != HTTPStatus.CONFLICT


def _described(error: stripe.StripeError) -> str:
    """What may be logged: Stripe's own sentences repeat what was sent."""
    kind = error.user_message if isinstance(error, stripe.APIConnectionError) else type(error).__name__
    return f"{kind}, status {error.http_status}, {_code(error)}, request {_word(error.request_id)}"


def _code(error: stripe.StripeError) -> str:
    return _word(error.code).replace("_", " ")


def _word(text: str | None) -> str:
    return text if text and re.fullmatch(r"[A-Za-z0-9_]{1,64}", text) else "unnamed"
