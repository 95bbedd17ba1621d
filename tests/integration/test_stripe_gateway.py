"""The Stripe adapter: the real library, over real HTTP, against a Stripe that can fail in every way."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.errors import IdempotencyKeyReused, InvalidAmount, PaymentsUnavailable, RefundRefused, UnknownPayment
from ledger.payments.gateway import Dispute, Intent
from ledger.payments.stripe_gateway import API_VERSION, StripeGateway
from tests.support.stripe_server import LEDGER_ID, SECRET_KEY, STAMP, Fault, StripeServer

EVER = datetime.fromtimestamp(0, UTC)
INTENTS, REFUNDS = "/v1/payment_intents", "/v1/refunds"
PLACES = 4
FAILURES = 5
WAIT = 30


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stripe() -> Iterator[StripeServer]:
    with StripeServer() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway(stripe: StripeServer, clock: Clock) -> StripeGateway:
    return gateway_at(stripe, timer=clock)


def gateway_at(stripe: StripeServer, *, key: str = SECRET_KEY, seconds: float = 20, **options: object) -> StripeGateway:
    return StripeGateway(key, STAMP, api_base=stripe.url, seconds=seconds, places=PLACES, **options)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def create(gateway: StripeGateway, order_id: int | None = 17, key: str = "order-17-x") -> Intent:
    return gateway.create_intent(order_id, 2000, "usd", key)


def test_an_intent_is_asked_for_as_stripe_wants_it(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent = create(gateway)

    (seen,) = stripe.requests
    assert dict(seen.params) == {
        "amount": "2000",
        "currency": "usd",
        "automatic_payment_methods[enabled]": "true",
        "metadata[order_id]": "17",
        "metadata[ledger_id]": LEDGER_ID,
    }
    assert (seen.key, seen.headers["Stripe-Version"]) == ("order-17-x", API_VERSION)
    made = stripe.intents[intent.id]
    assert (intent.client_secret, intent.order_id) == (made["client_secret"], 17)
    assert (intent.status, intent.amount, intent.currency) == ("requires_payment_method", 2000, "usd")
    assert (intent.amount_received, intent.amount_refunded) == (0, 0)
    assert intent.created == datetime.fromtimestamp(made["created"], UTC)


def test_an_intent_of_no_order_names_none(gateway: StripeGateway, stripe: StripeServer) -> None:
    assert create(gateway, None).order_id is None
    assert not [name for name in stripe.requests[0].params if name.startswith("metadata")]


@pytest.mark.parametrize(
    "metadata",
    [
        *(STAMP.metadata(17) | {"order_id": named} for named in ("", "x", "-1", "0", "017", "٤", "1e3", "9" * 17)),
        {"order_id": "17"},
        {"order_id": "17", "ledger_id": "another"},
        {"ledger_id": LEDGER_ID},
    ],
)
def test_metadata_of_others_are_no_order(
    gateway: StripeGateway, stripe: StripeServer, metadata: dict[str, str]
) -> None:
    intent_id = stripe.create(2000, metadata=metadata)["id"]
    assert gateway.retrieve_intent(intent_id).order_id is None


def test_the_same_key_has_the_same_intent(gateway: StripeGateway, stripe: StripeServer) -> None:
    assert create(gateway) == create(gateway)
    assert len(stripe.intents) == 1
    with pytest.raises(IdempotencyKeyReused):
        gateway.create_intent(17, 2001, "usd", "order-17-x")


@pytest.mark.parametrize("amount", [49, 100_000_000])
def test_an_amount_that_stripe_does_not_take(gateway: StripeGateway, amount: int) -> None:
    with pytest.raises(InvalidAmount) as refusal:
        gateway.create_intent(17, amount, "usd", "k")
    assert list(refusal.value.errors) == ["amount"]


def test_what_happens_to_a_payment_is_seen(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    stripe.fail(intent_id)
    failed = gateway.retrieve_intent(intent_id)
    assert (failed.status, failed.failure, failed.open) == ("requires_payment_method", "insufficient_funds", True)
    stripe.fail(intent_id, decline_code=None)
    assert gateway.retrieve_intent(intent_id).failure == "card_declined"
    stripe.pay(intent_id)
    paid = gateway.retrieve_intent(intent_id)
    assert (paid.status, paid.amount_received, paid.succeeded, paid.failure) == ("succeeded", 2000, True, None)
    stripe.refund(intent_id, 500)
    assert gateway.retrieve_intent(intent_id).amount_refunded == 500


def test_an_intent_that_stripe_never_had(gateway: StripeGateway) -> None:
    for ask in (gateway.retrieve_intent, gateway.cancel_intent, lambda id: gateway.refund(id, None, "k")):
        with pytest.raises(UnknownPayment):
            ask("pi_none")


def test_an_open_intent_is_cancelled_once(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    assert gateway.cancel_intent(intent_id).status == "canceled"
    assert gateway.cancel_intent(intent_id).status == "canceled"
    assert len(stripe.posts(f"{INTENTS}/{intent_id}/cancel")) == 1


@pytest.mark.parametrize("status", ["succeeded", "processing"])
def test_an_intent_that_is_not_open_is_left_alone(gateway: StripeGateway, stripe: StripeServer, status: str) -> None:
    intent_id = create(gateway).id
    _ = stripe.pay(intent_id) if status == "succeeded" else stripe.advance(intent_id, status)
    assert gateway.cancel_intent(intent_id).status == status
    assert not stripe.posts(f"{INTENTS}/{intent_id}/cancel")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cancellation_that_is_cut_off_is_made_once(gateway: StripeGateway, stripe: StripeServer, when: str) -> None:
    intent_id = create(gateway).id
    stripe.inject(Fault(when))  # type: ignore[arg-type]
    assert gateway.cancel_intent(intent_id).status == "canceled"
    assert [event["type"] for event in stripe.events].count("payment_intent.canceled") == 1


def around_cancelling(
    stripe: StripeServer, before: Callable[[], object], after: Callable[[], object] = lambda: None
) -> None:
    """Makes one change right before the server carries out a request to cancel, and one right after."""
    cancel = stripe.cancel

    def cancel_late(intent_id: str) -> list[dict[str, object]]:
        before()
        try:
            return cancel(intent_id)
        finally:
            after()

    stripe.cancel = cancel_late  # type: ignore[method-assign]


def test_an_intent_that_is_paid_just_then_is_told_as_paid(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    around_cancelling(stripe, lambda: stripe.pay(intent_id))
    assert gateway.cancel_intent(intent_id).succeeded


def test_an_intent_that_is_open_again_is_not_taken_for_cancelled(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    around_cancelling(stripe, lambda: stripe.advance(intent_id, "processing"), lambda: stripe.fail(intent_id))
    with pytest.raises(PaymentsUnavailable):
        gateway.cancel_intent(intent_id)
    del stripe.cancel  # type: ignore[attr-defined]
    assert gateway.cancel_intent(intent_id).status == "canceled"


def test_refunds_in_part_and_of_what_is_left(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    part = gateway.refund(intent_id, 500, "a")
    assert (part.intent_id, part.amount, part.currency, part.status) == (intent_id, 500, "usd", "succeeded")
    assert gateway.refund(intent_id, 500, "a") == part
    assert gateway.refund(intent_id, None, "b").amount == 1500
    assert gateway.retrieve_intent(intent_id).refunded
    assert len(stripe.refunds) == 2


def test_refunds_that_stripe_refuses(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    with pytest.raises(RefundRefused):
        gateway.refund(intent_id, None, "unpaid")
    stripe.pay(intent_id)
    with pytest.raises(RefundRefused, match="amount too large"):
        gateway.refund(intent_id, 2001, "too-much")
    gateway.refund(intent_id, None, "all")
    with pytest.raises(RefundRefused, match="charge already refunded"):
        gateway.refund(intent_id, None, "again")
    assert len(stripe.refunds) == 1


def test_all_intents_are_listed_page_by_page(stripe: StripeServer, gateway: StripeGateway) -> None:
    made = [stripe.create(1000 + number, metadata=STAMP.metadata(number + 1))["id"] for number in range(205)]
    stripe.pay(made[3])
    stripe.refund(made[3], 300)

    listed = list(gateway.list_intents(EVER))

    assert [intent.id for intent in listed] == made[::-1]
    assert listed[-4].amount_refunded == 300
    assert [seen.params.get("starting_after") for seen in stripe.requests] == [None, made[105], made[5]]
    assert list(gateway.list_intents(datetime(2100, 1, 1, tzinfo=UTC))) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [None, 500, 503])
def test_a_call_that_is_cut_off_is_repeated_and_acts_once(
    gateway: StripeGateway, stripe: StripeServer, when: str, status: int | None
) -> None:
    stripe.inject(Fault(when, status=status))  # type: ignore[arg-type]
    intent = create(gateway)
    assert list(stripe.intents) == [intent.id]
    assert [seen.key for seen in stripe.posts(INTENTS)] == ["order-17-x"] * 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_refund_that_is_cut_off_is_made_once(gateway: StripeGateway, stripe: StripeServer, when: str) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    stripe.inject(Fault(when), path=REFUNDS, times=3)  # type: ignore[arg-type]
    with pytest.raises(PaymentsUnavailable):
        gateway.refund(intent_id, None, "refund-17")
    refund = gateway.refund(intent_id, None, "refund-17")
    assert list(stripe.refunds) == [refund.id]


def test_an_intent_whose_making_stripe_says_for_ever_failed_is_made_anew(
    gateway: StripeGateway, stripe: StripeServer
) -> None:
    stripe.inject(Fault.answer(500, "after", saved=True))
    intent = create(gateway)
    assert create(gateway) == intent
    orphan, made = stripe.intents
    assert (made, stripe.intents[orphan]["status"]) == (intent.id, "requires_payment_method")


def test_a_refund_that_stripe_says_for_ever_failed_is_not_made_again(
    gateway: StripeGateway, stripe: StripeServer
) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    stripe.inject(Fault.answer(500, "after", saved=True), path=REFUNDS)
    with pytest.raises(PaymentsUnavailable):
        gateway.refund(intent_id, 500, "refund-17")
    assert [gateway.refund(intent_id, 500, "refund-17").id] == list(stripe.refunds)


def test_a_refund_is_found_again_when_stripe_has_forgotten_its_key(
    gateway: StripeGateway, stripe: StripeServer
) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    first = gateway.refund(intent_id, 500, "refund-17-a")
    second = gateway.refund(intent_id, 500, "refund-17-b")
    rest = gateway.refund(intent_id, None, "refund-17-c")
    stripe.forget_keys()
    assert gateway.refund(intent_id, 500, "refund-17-a") == first
    assert gateway.refund(intent_id, 500, "refund-17-b") == second
    assert gateway.refund(intent_id, None, "refund-17-c") == rest
    assert list(gateway.list_refunds(intent_id)) == [rest, second, first]


def test_all_that_is_left_is_not_a_part_of_it(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    part = gateway.refund(intent_id, 500, "refund-17")
    for forget in (lambda: None, stripe.forget_keys):
        forget()
        with pytest.raises(IdempotencyKeyReused):
            gateway.refund(intent_id, None, "refund-17")
    assert list(gateway.list_refunds(intent_id)) == [part]


def test_a_refusal_does_not_stick_to_its_key(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    taken = gateway.refund(intent_id, 1800, "refund-17-a")
    for _ in range(2):
        with pytest.raises(RefundRefused):
            gateway.refund(intent_id, 500, "refund-17-b")
    stripe.settle_refund(taken.id, "failed")
    assert gateway.refund(intent_id, 500, "refund-17-b").amount == 500


def test_disputes_about_intents_are_listed(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id, other = create(gateway).id, create(gateway, key="order-18").id
    for paid in (intent_id, other):
        stripe.pay(paid)
        stripe.dispute(paid, 500)
    first, second = stripe.disputes.values()
    second["payment_intent"] = None
    found = list(gateway.list_disputes(EVER))
    assert found == [Dispute(first["id"], intent_id, 500, "usd", "needs_response")]


def test_an_answer_that_is_not_stripes_is_an_outage(stripe: StripeServer) -> None:
    gateway = gateway_at(stripe)
    intent_id = create(gateway).id
    for missing in ("metadata", "amount_received", "created"):
        kept = stripe.intents[intent_id].pop(missing)
        with pytest.raises(PaymentsUnavailable):
            gateway.retrieve_intent(intent_id)
        with pytest.raises(PaymentsUnavailable):
            list(gateway.list_intents(EVER))
        stripe.intents[intent_id][missing] = kept
    assert gateway.retrieve_intent(intent_id).id == intent_id


def test_a_key_that_stands_for_another_refund(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    gateway.refund(intent_id, 500, "refund-17")
    with pytest.raises(IdempotencyKeyReused):
        gateway.refund(intent_id, 600, "refund-17")
    assert len(stripe.refunds) == 1


def test_a_key_refunds_one_order_only(gateway: StripeGateway, stripe: StripeServer) -> None:
    first, second = create(gateway).id, create(gateway, key="order-18").id
    for intent_id in (first, second):
        stripe.pay(intent_id)
    gateway.refund(first, 500, "refund-key")
    with pytest.raises(IdempotencyKeyReused):
        gateway.refund(second, 500, "refund-key")
    assert len(stripe.refunds) == 1


def test_a_refund_behind_many_others_is_found(gateway: StripeGateway, stripe: StripeServer) -> None:
    intent_id = create(gateway).id
    stripe.pay(intent_id)
    lost = gateway.refund(intent_id, 5, "refund-lost")
    for _ in range(110):
        stripe.refund(intent_id, 1)
    stripe.forget_keys()
    assert gateway.refund(intent_id, 5, "refund-lost") == lost


def test_what_was_not_paid_can_not_be_refunded(gateway: StripeGateway) -> None:
    with pytest.raises(RefundRefused, match="nothing was received"):
        gateway.refund(create(gateway).id, None, "refund-17")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_does_not_wait_longer_than_it_may_and_the_next_finds_the_intent(stripe: StripeServer, when: str) -> None:
    patient, hasty = gateway_at(stripe), gateway_at(stripe, seconds=0.3)
    go_on = threading.Event()
    stripe.inject(Fault.hang(when, go_on))  # type: ignore[arg-type]
    with pytest.raises(PaymentsUnavailable):
        create(hasty)
    assert stripe.acted == (when == "after"), "it was waited for as long as the server hangs"
    if when == "before":
        stripe.inject(Fault.drop("before"))  # so that the pause before the next attempt is the library's
    go_on.set()
    assert [create(patient).id] == list(stripe.intents)


def test_a_key_that_is_in_use_just_now_is_waited_for_a_while(stripe: StripeServer, gateway: StripeGateway) -> None:
    go_on = threading.Event()
    stripe.inject(Fault.hang("before", go_on))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(create, gateway)
        wait_until(lambda: len(stripe.requests) == 1)
        with pytest.raises(PaymentsUnavailable):
            create(gateway)
        go_on.set()
        assert first.result(WAIT) == create(gateway)
    assert len(stripe.intents) == 1


@pytest.mark.parametrize("headers", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_an_answer_that_drips_is_cut_off(headers: str) -> None:
    hung_up = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode())
        with connection, suppress(OSError):
            for _ in range(100_000):
                connection.sendall(b" " if "Length" in headers else b"1\r\n \r\n")
                time.sleep(0.02)
            return
        hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        dripping = pool.submit(drip, listener)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        gateway = StripeGateway(SECRET_KEY, STAMP, api_base=base, seconds=0.5, places=PLACES)
        with pytest.raises(PaymentsUnavailable):
            create(gateway)
        dripping.result(WAIT)
    assert hung_up.is_set()


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"object": "payment_intent"'])
def test_what_is_no_answer_of_stripe_s_is_none(body: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 502 Bad\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

        answered = pool.submit(once)
        gateway = StripeGateway(SECRET_KEY, STAMP, api_base=base, seconds=0.5, places=PLACES)
        with pytest.raises(PaymentsUnavailable):
            create(gateway)
        answered.result(WAIT)


@pytest.mark.parametrize("status", [429, 500])
def test_stripe_is_left_alone_after_so_many_failures(
    stripe: StripeServer, gateway: StripeGateway, clock: Clock, status: int
) -> None:
    intent_id = create(gateway).id
    stripe.inject(Fault.answer(status, "before"), method="GET", times=3 * FAILURES)
    for _ in range(FAILURES):
        with pytest.raises(PaymentsUnavailable):
            gateway.retrieve_intent(intent_id)
    asked = len(stripe.requests)
    stripe.heal()
    with pytest.raises(PaymentsUnavailable, match="was not asked"):
        gateway.retrieve_intent(intent_id)
    assert len(stripe.requests) == asked
    clock.now += 10
    assert gateway.retrieve_intent(intent_id).id == intent_id


def test_refusals_are_no_failures(stripe: StripeServer, gateway: StripeGateway) -> None:
    for _ in range(2 * FAILURES):
        with pytest.raises(UnknownPayment):
            gateway.retrieve_intent("pi_none")
    assert create(gateway).open


def test_a_key_that_is_in_use_is_no_failure_of_stripe(stripe: StripeServer, gateway: StripeGateway) -> None:
    stripe.inject(Fault.answer(409, "before"), times=3 * FAILURES)
    for _ in range(FAILURES):
        with pytest.raises(PaymentsUnavailable):
            create(gateway)
    stripe.heal()
    assert create(gateway).open


def test_no_more_calls_than_there_are_places(stripe: StripeServer, gateway: StripeGateway) -> None:
    go_on = threading.Event()
    stripe.inject(Fault.hang("before", go_on), times=PLACES)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(create, gateway, number + 1, f"k{number}") for number in range(PLACES)]
        wait_until(lambda: len(stripe.requests) == PLACES)
        with pytest.raises(PaymentsUnavailable, match="too many requests"):
            create(gateway)
        go_on.set()
        assert {future.result(WAIT).order_id for future in waiting} == set(range(1, PLACES + 1))


def test_connections_that_are_refused_and_then_taken_again(stripe: StripeServer, gateway: StripeGateway) -> None:
    stripe.stop()
    with pytest.raises(PaymentsUnavailable):
        create(gateway)
    stripe.start()
    assert create(gateway).open


def test_a_key_that_stripe_does_not_take_is_told_to_the_log_but_not_shown(
    stripe: StripeServer, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk_test_planted_wrong_0123456789"
    with caplog.at_level(logging.DEBUG), pytest.raises(PaymentsUnavailable) as refusal:
        create(gateway_at(stripe, key=key))
    assert "STRIPE_SECRET_KEY" in caplog.text
    assert "planted" not in caplog.text + repr(refusal.value)


def test_no_secret_is_logged_or_told(
    stripe: StripeServer, gateway: StripeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        intent = create(gateway)
        told = [repr(intent), str(intent), repr(gateway)]
        for fault in (Fault.drop("after"), Fault.answer(500, "after"), Fault.answer(429, "after")):
            stripe.inject(fault, times=3)
            with pytest.raises(PaymentsUnavailable) as error:
                create(gateway, key="another")
            told.append(repr(error.value))
        stripe.stop()
        with pytest.raises(PaymentsUnavailable) as error:
            create(gateway)
        told.append(str(error.value))
    assert "Stripe can't be reached" in caplog.text
    for secret in (SECRET_KEY, "_secret_", intent.client_secret):
        assert secret not in caplog.text + "".join(told)


def test_nothing_is_told_to_stripe_but_what_is_asked(gateway: StripeGateway, stripe: StripeServer) -> None:
    create(gateway)
    create(gateway)
    assert "X-Stripe-Client-Telemetry" not in stripe.requests[1].headers
    assert "platform" not in stripe.requests[1].headers["X-Stripe-Client-User-Agent"]


def test_a_netrc_does_not_take_the_place_of_the_key(
    gateway: StripeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert create(gateway).open
