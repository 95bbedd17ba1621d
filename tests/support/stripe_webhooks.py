"""Webhook deliveries as Stripe makes them: signed, and late, twice and shuffled when a test asks for it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Sequence

import requests
import stripe

from tests.support.stripe_objects import Object
from tests.support.stripe_server import WEBHOOK_SECRET

_SECONDS = 30


def body_of(event: Object) -> bytes:
    """An event's body, formatted as Stripe formats it."""
    return json.dumps(event, indent=2).encode()


def signature(body: bytes, *, secrets: Sequence[str] = (WEBHOOK_SECRET,), timestamp: int | None = None) -> str:
    """The Stripe-Signature header of a body, made by the stripe library; one signature for each secret."""
    at = int(time.time()) if timestamp is None else timestamp
    headers = [stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at) for secret in secrets]
    return ",".join([headers[0], *(header.split(",", 1)[1] for header in headers[1:])])


def deliver(
    url: str, event: Object | bytes, *, secrets: Sequence[str] = (WEBHOOK_SECRET,), timestamp: int | None = None
) -> requests.Response:
    """Sends one event (or a body) to a webhook's URL."""
    body = event if isinstance(event, bytes) else body_of(event)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": signature(body, secrets=secrets, timestamp=timestamp),
    }
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, data=body, headers=headers, timeout=_SECONDS)


def deliver_all(url: str, events: Iterable[Object], *, copies: int = 1, rng: random.Random | None = None) -> list[int]:
    """Sends every event so many times, shuffled when there is an ``rng``; returns the answers' statuses.

    What is not acknowledged with 2xx is sent again, as Stripe does, up to five rounds.
    """
    waiting = [event for event in events for _ in range(copies)]
    statuses: list[int] = []
    for _ in range(5):
        if rng is not None:
            rng.shuffle(waiting)
        answers = [(event, deliver(url, event).status_code) for event in waiting]
        statuses += [status for _, status in answers]
        waiting = [event for event, status in answers if not 200 <= status < 300]
    return statuses
