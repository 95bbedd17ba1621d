"""A shop on localstripe: success, decline, cancel and refund, with the real stripe library on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe

from ledger.errors import UnknownPayment
from ledger.payments.stripe_gateway import StripeGateway
from tests.support.localstripe import DECLINED_CARD, LocalStripe, metadata_of
from tests.support.server import problem
from tests.support.shop import STAFF, Shop
from tests.support.stripe_server import SECRET_KEY, STAMP

AMOUNT = 1999


@pytest.fixture
def local() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        yield running


@pytest.fixture
def shop(local: LocalStripe, tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path, f"sqlite:///{tmp_path}/ledger.db", local, workers=1)  # type: ignore[arg-type]
    opened.server.start(LEDGER_STRIPE_TIMEOUT="20")
    yield opened
    opened.server.stop()


@pytest.fixture
def gateway(local: LocalStripe) -> StripeGateway:
    return StripeGateway(SECRET_KEY, STAMP, api_base=local.url, seconds=20, places=1)


def intent_of(shop: Shop, order_id: int) -> str:
    return next(body["payment_intent_id"] for body in shop.bodies() if body.get("order_id") == order_id)


def test_the_intent_is_the_order_s(local: LocalStripe, shop: Shop) -> None:
    order = shop.place("key").json()
    intent = local.client.v1.payment_intents.retrieve(intent_of(shop, order["id"]))
    assert (intent.amount, intent.currency, intent.client_secret) == (AMOUNT, "usd", order["clientSecret"])
    assert metadata_of(intent)["order_id"] == str(order["id"])


def test_a_payment_that_succeeds(local: LocalStripe, shop: Shop) -> None:
    order_id = shop.placed()
    assert problem(shop.move(order_id, "order_paid"))["type"].endswith("payment-not-confirmed")
    local.confirm(intent_of(shop, order_id))
    assert shop.move(order_id, "order_paid").json() == {"id": order_id, "status": "order_paid"}
    assert shop.payment(order_id)["receivedInCents"] == AMOUNT


def test_a_payment_that_is_declined(local: LocalStripe, shop: Shop, gateway: StripeGateway) -> None:
    local.use_card(DECLINED_CARD)
    order_id = shop.placed()
    intent_id = intent_of(shop, order_id)
    with pytest.raises(stripe.CardError):
        local.confirm(intent_id)
    intent = gateway.retrieve_intent(intent_id)
    assert (intent.open, intent.failure, intent.amount_received) == (True, "card_declined", 0)
    assert problem(shop.move(order_id, "order_paid"))["type"].endswith("payment-not-confirmed")
    assert shop.status(order_id) == "pending"


def test_an_order_that_is_cancelled_can_not_be_paid(local: LocalStripe, shop: Shop, gateway: StripeGateway) -> None:
    order_id = shop.placed()
    intent_id = intent_of(shop, order_id)
    assert shop.move(order_id, "cancelled").status_code == 200
    assert gateway.cancel_intent(intent_id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        local.confirm(intent_id)
    assert local.client.v1.payment_intents.retrieve(intent_id).status == "canceled"


def test_an_order_that_was_paid_is_refunded_and_then_cancelled(local: LocalStripe, shop: Shop) -> None:
    order_id = shop.placed()
    intent_id = intent_of(shop, order_id)
    local.confirm(intent_id)
    assert problem(shop.move(order_id, "cancelled"))["type"].endswith("refund-required")
    assert shop.refund(order_id, "part", 500).status_code == 201
    assert problem(shop.move(order_id, "cancelled", user=STAFF))["type"].endswith("refund-required")
    rest = shop.refund(order_id, "rest", AMOUNT - 500)
    assert (rest.status_code, rest.json()["amountInCents"], rest.json()["status"]) == (201, AMOUNT - 500, "succeeded")
    assert shop.move(order_id, "cancelled", user=STAFF).status_code == 200
    refunds = local.client.v1.refunds.list({"payment_intent": intent_id}).data
    assert sorted(refund.amount for refund in refunds) == [500, AMOUNT - 500]
    assert "_secret_" not in json.dumps(shop.bodies())


def test_what_localstripe_never_had(gateway: StripeGateway) -> None:
    with pytest.raises(UnknownPayment):
        gateway.retrieve_intent("pi_none")
