"""Which payment gateway the settings choose: made, and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ledger.observer import Observed
from ledger.payments.gateway import PaymentGateway
from ledger.payments.sandbox import SandboxGateway
from ledger.settings import Settings
from ledger.storage import Database
from ledger.storage.identity import LedgerId
from scripts.settings_cmd import without_password

if TYPE_CHECKING:  # what Stripe needs is loaded only where Stripe is chosen: it takes time and memory
    from ledger.payments.stripe_notices import StripeWebhooks


class Chosen(NamedTuple):
    """The gateway, and the same one again if it is the sandbox, which can do more."""

    gateway: PaymentGateway
    sandbox: SandboxGateway | None


def choose_gateway(settings: Settings, database: Database, observed: Observed) -> Chosen:
    """Stripe where there is a key for it, else the sandbox. Nothing connects yet."""
    if settings.stripe_secret_key is None:
        sandbox = SandboxGateway(database)
        return Chosen(sandbox, sandbox)
    from ledger.payments.stripe_gateway import StripeGateway  # noqa: PLC0415
    from ledger.payments.stripe_objects import Stamp  # noqa: PLC0415

    # A quarter of the threads is never Stripe's, so that reads are answered however slow Stripe is.
    places = max(1, settings.threads - max(1, settings.threads // 4))
    gateway = StripeGateway(
        settings.stripe_secret_key,
        Stamp(LedgerId(database)),
        api_base=settings.stripe_api_base,
        seconds=settings.stripe_timeout,
        places=places,
        observed=observed,
    )
    return Chosen(gateway, None)


def make_webhooks(settings: Settings, database: Database) -> StripeWebhooks | None:
    """What reads Stripe's webhooks; ``None`` when there is no secret to check them with."""
    if not settings.stripe_webhook_secrets:
        return None
    from ledger.payments.stripe_notices import StripeWebhooks  # noqa: PLC0415
    from ledger.payments.stripe_objects import Stamp  # noqa: PLC0415

    return StripeWebhooks(settings.stripe_webhook_secrets, Stamp(LedgerId(database)))


def described(settings: Settings) -> str:
    """The gateway in words."""
    if settings.stripe_secret_key is None:
        return "the embedded sandbox gateway, which moves no money"
    mode = "live mode" if settings.stripe_live else "test mode, in which no money moves"
    webhooks = "webhooks are taken" if settings.stripe_webhook_secrets else "no webhooks are taken"
    return f"Stripe at {without_password(settings.stripe_api_base)} in {mode}; {webhooks}"


def warnings_about(settings: Settings) -> Iterator[str]:
    """What an operator should hear before payments are taken so."""
    production = settings.env == "production"
    if settings.stripe_secret_key is None:
        if production:
            yield (
                "Warning: without STRIPE_SECRET_KEY payments go to the embedded sandbox gateway, which moves no money: "
                "do not use it for real sales."
            )
        return
    if production and not settings.stripe_live:
        yield "Warning: STRIPE_SECRET_KEY is a key of Stripe's test mode, in which no money moves."
    if settings.stripe_live and not production:
        yield "Warning: STRIPE_SECRET_KEY is a live key, which moves real money, and LEDGER_ENV is not production."
    if not settings.stripe_webhook_secrets:
        yield "Warning: without STRIPE_WEBHOOK_SECRET no webhooks are taken, and payments are heard of only by asking."
