"""What Stripe's refusals and failures mean to the ledger, and what of them may be logged.

Source: https://docs.stripe.com/api/errors
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import stripe

from ledger.errors import IdempotencyKeyReused, InvalidAmount, PaymentsUnavailable, RefundRefused, UnknownPayment
from ledger.payments.breaker import TurnedAway

_ABOUT_THE_REQUEST = (stripe.InvalidRequestError, stripe.CardError)
_AMOUNT_CODES = frozenset({"amount_too_small", "amount_too_large"})
_log = logging.getLogger(__name__)

Meaning = Callable[[stripe.StripeError], Exception]


@contextmanager
def translated(refusal: Meaning) -> Iterator[None]:
    """Raises what ``refusal`` makes of a refused request, PaymentsUnavailable, or IdempotencyKeyReused."""
    try:
        yield
    except TurnedAway as error:
        raise PaymentsUnavailable(f"The payment gateway was not asked: {error}.") from None
    except stripe.IdempotencyError:
        raise IdempotencyKeyReused("The payment gateway knows this Idempotency-Key from another request.") from None
    except _ABOUT_THE_REQUEST as error:
        raise refusal(error) from None
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        _log.error("Stripe does not accept STRIPE_SECRET_KEY, or not for this: %s", _described(error))
        raise PaymentsUnavailable("The payment gateway does not let the ledger in.") from None
    except stripe.StripeError as error:
        _log.warning("Stripe can't be reached, or did not do its work: %s", _described(error))
        raise PaymentsUnavailable("The payment gateway can't be reached; send the request again.") from None
    except (AttributeError, TypeError, ValueError) as error:
        # The library reads whatever JSON it is sent, and what answers need not be Stripe.
        _log.error("What LEDGER_STRIPE_API_BASE answers is not what Stripe documents: %s", type(error).__name__)
        raise PaymentsUnavailable("The payment gateway's answer makes no sense.") from None


def of_amount(error: stripe.StripeError) -> Exception:
    """The meaning where an amount was sent."""
    if error.code in _AMOUNT_CODES:
        return InvalidAmount({"amount": [f"The payment gateway does not take such an amount: {error.code}."]})
    return misunderstood(error)


def of_intent(error: stripe.StripeError) -> Exception:
    """The meaning where an intent was named."""
    if error.code == "resource_missing":
        return UnknownPayment("The payment gateway does not know this payment.")
    return misunderstood(error)


def of_refund(error: stripe.StripeError) -> Exception:
    """The meaning where a refund was asked for."""
    if error.code == "resource_missing":
        return of_intent(error)
    if error.code is None:
        return RefundRefused("The payment gateway refuses this refund: nothing was received, or not as much is left.")
    return RefundRefused(f"The payment gateway refuses this refund: {_code(error)}.")


def misunderstood(error: stripe.StripeError) -> Exception:
    """The meaning where Stripe has no reason to refuse."""
    _log.error("Stripe refuses a request that should make sense: %s", _described(error))
    return PaymentsUnavailable("The payment gateway refuses what it is asked.")


def is_outage(error: Exception) -> bool:
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
