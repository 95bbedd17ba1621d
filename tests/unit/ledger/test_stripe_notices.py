"""Stripe's webhooks: what is signed is read, what is not is refused unread, and nothing is lost without a word."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ForgedNotice, MalformedNotice
from ledger.payments.gateway import PaymentKind, PaymentNotice
from ledger.payments.stripe_notices import StripeWebhooks, WebhookEvent
from tests.support.stripe_objects import StripeAccount
from tests.support.stripe_server import LEDGER_ID, STAMP
from tests.support.stripe_webhooks import body_of, signature

SECRET, OLD = "whsec_new", "whsec_old"
WEBHOOKS = StripeWebhooks([SECRET], STAMP)
CREATED, OCCURRED = 1782561723, "2026-06-27T12:02:03.000000Z"

INTENT: dict[str, Any] = {
    "id": "pi_3TestIntent00000001",
    "object": "payment_intent",
    "amount": 1999,
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 0,
    "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
    "capture_method": "automatic_async",
    "client_secret": "pi_3TestIntent00000001_secret_planted",
    "created": 1782561700,
    "currency": "usd",
    "last_payment_error": None,
    "latest_charge": None,
    "livemode": False,
    "metadata": {"order_id": "17", "ledger_id": LEDGER_ID},
    "status": "requires_payment_method",
}
CHARGE: dict[str, Any] = {
    "id": "ch_3TestIntent0Charge1",
    "object": "charge",
    "amount": 1999,
    "amount_captured": 1999,
    "amount_refunded": 500,
    "billing_details": {"email": None, "name": None},
    "currency": "usd",
    "disputed": False,
    "livemode": False,
    "metadata": {"order_id": "17", "ledger_id": LEDGER_ID},
    "paid": True,
    "payment_intent": "pi_3TestIntent00000001",
    "refunded": False,
    "status": "succeeded",
}
REFUND: dict[str, Any] = {
    "id": "re_3TestIntent0Refund1",
    "object": "refund",
    "amount": 500,
    "charge": "ch_3TestIntent0Charge1",
    "created": 1782561720,
    "currency": "usd",
    "destination_details": {"card": {"type": "refund"}, "type": "card"},
    "metadata": {},
    "payment_intent": "pi_3TestIntent00000001",
    "reason": "requested_by_customer",
    "status": "succeeded",
}
DISPUTE: dict[str, Any] = {
    "id": "du_1TestDispute0000001",
    "object": "dispute",
    "amount": 1999,
    "charge": "ch_3TestIntent0Charge1",
    "currency": "usd",
    "evidence_details": {"due_by": 1783400000, "has_evidence": False, "submission_count": 0},
    "is_charge_refundable": False,
    "livemode": False,
    "metadata": {},
    "payment_intent": "pi_3TestIntent00000001",
    "reason": "fraudulent",
    "status": "needs_response",
}
DECLINED = {"code": "card_declined", "decline_code": "insufficient_funds", "type": "card_error"}


def event(type: str, about: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An event as Stripe sends it."""
    made = {
        "id": "evt_3TestEvent",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type,
    }
    return made | changes


def read(sent: Any) -> WebhookEvent:
    """What is read of an event, signed now."""
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return WEBHOOKS.read(body, signature(body, secrets=[SECRET]))


def notice(kind: PaymentKind, amount: int, order_id: int | None = 17, **more: str) -> PaymentNotice:
    return PaymentNotice(kind, "pi_3TestIntent00000001", amount, "usd", OCCURRED, order_id, **more)


TOLD: list[tuple[str, dict[str, Any], PaymentNotice]] = [
    ("payment_intent.requires_action", INTENT, notice(PaymentKind.REQUIRES_ACTION, 1999)),
    ("payment_intent.processing", INTENT, notice(PaymentKind.PROCESSING, 1999)),
    (
        "payment_intent.amount_capturable_updated",
        INTENT | {"amount_capturable": 1999},
        notice(PaymentKind.AUTHORIZED, 1999),
    ),
    ("payment_intent.payment_failed", INTENT, notice(PaymentKind.FAILED, 1999)),
    (
        "payment_intent.payment_failed",
        INTENT | {"last_payment_error": DECLINED},
        notice(PaymentKind.FAILED, 1999, detail="insufficient_funds"),
    ),
    (
        "payment_intent.payment_failed",
        INTENT | {"last_payment_error": {"code": "payment_intent_authentication_failure", "decline_code": None}},
        notice(PaymentKind.FAILED, 1999, detail="payment_intent_authentication_failure"),
    ),
    ("payment_intent.canceled", INTENT, notice(PaymentKind.CANCELED, 1999)),
    ("payment_intent.succeeded", INTENT | {"amount_received": 1998}, notice(PaymentKind.RECEIVED, 1998)),
    ("charge.refunded", CHARGE, notice(PaymentKind.REFUNDED, 500)),
    *(
        (type, REFUND, notice(PaymentKind.REFUND, 500, None, reference=REFUND["id"], detail="succeeded"))
        for type in ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
    ),
    (
        "refund.created",
        REFUND | {"status": None, "metadata": None},
        notice(PaymentKind.REFUND, 500, None, reference=REFUND["id"], detail="pending"),
    ),
    (
        "charge.dispute.created",
        DISPUTE,
        notice(PaymentKind.DISPUTE, 1999, None, reference=DISPUTE["id"], detail="needs_response"),
    ),
    (
        "charge.dispute.closed",
        DISPUTE | {"status": "won"},
        notice(PaymentKind.DISPUTE, 1999, None, reference=DISPUTE["id"], detail="won"),
    ),
]


@pytest.mark.parametrize("livemode", [False, True])
@pytest.mark.parametrize(("type", "about", "expected"), TOLD)
def test_what_events_tell(type: str, about: dict[str, Any], expected: PaymentNotice, livemode: bool) -> None:
    sent = event(type, about | {"livemode": livemode}, livemode=livemode)

    assert read(sent) == WebhookEvent("evt_3TestEvent", expected)


@pytest.mark.parametrize(
    ("type", "about"),
    [
        ("payment_intent.created", INTENT),
        ("payment_intent.partially_funded", INTENT),
        ("charge.succeeded", CHARGE),
        ("charge.dispute.updated", DISPUTE),
        ("charge.dispute.funds_withdrawn", DISPUTE),
        ("customer.created", {"id": "cus_1", "object": "customer"}),
        ("v1.billing.meter.error_report_triggered", {}),
        ("", {}),
        # Charges that were made without an intent.
        ("charge.refunded", CHARGE | {"payment_intent": None}),
        ("refund.created", REFUND | {"payment_intent": None}),
        ("charge.dispute.created", {name: DISPUTE[name] for name in DISPUTE if name != "payment_intent"}),
    ],
)
def test_events_that_tell_nothing(type: str, about: dict[str, Any]) -> None:
    assert read(event(type, about)) == WebhookEvent("evt_3TestEvent", None)


def test_a_thin_event_tells_nothing() -> None:
    thin = {"id": "evt_test_65", "object": "v2.core.event", "type": "v2.core.account.closed", "livemode": False}

    assert read(thin) == WebhookEvent("evt_test_65", None)


@pytest.mark.parametrize(
    "metadata",
    [{}, None, [], "17", {"order_id": 17}, {"order_id": None}, {"order": "17"}, {"order_id": ["17"]}]
    + [{"order_id": text} for text in ("", "0", "017", "-17", "1.0", "A-17", " 17", "\u0661", "9" * 16, "9" * 5000)],
)
def test_metadata_of_others_name_no_order(metadata: Any) -> None:
    found = read(event("payment_intent.succeeded", INTENT | {"metadata": metadata})).notice

    assert found is not None
    assert found.order_id is None


def test_everything_that_happens_at_an_account_can_be_read() -> None:
    account = StripeAccount()
    paid, failed = (account.create(1999, metadata=STAMP.metadata(17))["id"] for _ in range(2))
    account.advance(paid, "requires_action")
    account.pay(paid)
    account.refund(paid, 500, "pending")
    account.settle_refund(next(iter(account.refunds)), "failed")
    account.dispute(paid)
    account.close_dispute(next(iter(account.disputes)), "lost")
    account.fail(failed)
    account.cancel(failed)

    kinds = {read(body_of(happened)).notice.kind for happened in account.events if read(body_of(happened)).notice}

    assert kinds >= {
        PaymentKind.REQUIRES_ACTION,
        PaymentKind.RECEIVED,
        PaymentKind.REFUND,
        PaymentKind.DISPUTE,
        PaymentKind.FAILED,
        PaymentKind.CANCELED,
    }


# --- signatures

BODY = json.dumps(event("payment_intent.succeeded", INTENT)).encode()
NOW = int(time.time())


def raw_signature(body: bytes, secret: str = SECRET, timestamp: str = str(NOW)) -> str:
    """Of bytes that the library would not sign."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


GOOD = raw_signature(BODY)
FORGED: dict[str, tuple[bytes, str | None]] = {
    "no header": (BODY, None),
    "an empty header": (BODY, ""),
    "no time": (BODY, f"v1={GOOD}"),
    "no signature": (BODY, f"t={NOW}"),
    "another scheme": (BODY, f"t={NOW},v0={GOOD}"),
    "another time": (BODY, f"t={NOW - 1},v1={GOOD}"),
    "a time that is no number": (BODY, f"t=now,v1={GOOD}"),
    "a time of very many digits": (BODY, f"t={'9' * 5000},v1={GOOD}"),
    "a time too old": (BODY, f"t={NOW - 301},v1={raw_signature(BODY, timestamp=str(NOW - 301))}"),
    "a time of 1970": (BODY, f"t=0,v1={raw_signature(BODY, timestamp='0')}"),
    "another secret": (BODY, f"t={NOW},v1={raw_signature(BODY, OLD)}"),
    "no secret": (BODY, f"t={NOW},v1={raw_signature(BODY, '')}"),
    "half a signature": (BODY, f"t={NOW},v1={GOOD[:32]}"),
    "a signature that is not ASCII": (BODY, f"t={NOW},v1=\xe9{GOOD[1:]}"),
    "commas": (BODY, ",,,"),
    "a signed prefix": (BODY[:-1], f"t={NOW},v1={GOOD}"),
    "a signed beginning": (BODY + b" ", f"t={NOW},v1={GOOD}"),
    "another amount": (BODY.replace(b"1999", b"1998"), f"t={NOW},v1={GOOD}"),
    "no body": (b"", f"t={NOW},v1={GOOD}"),
    "a body that is not UTF-8": (b'{"id":"\xff"}', f"t={NOW},v1=" + raw_signature(b'{"id":"\xff"}')),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_not_signed_is_not_read(name: str) -> None:
    with pytest.raises(ForgedNotice) as refused:
        WEBHOOKS.read(*FORGED[name])
    assert SECRET not in str(refused.value)


def test_a_signature_is_good_for_as_long_as_is_tolerated() -> None:
    late = signature(BODY, secrets=[SECRET], timestamp=int(time.time()) - 1000)

    assert StripeWebhooks([SECRET], STAMP, tolerance=2000).read(BODY, late).notice is not None
    with pytest.raises(ForgedNotice):
        StripeWebhooks([SECRET], STAMP, tolerance=900).read(BODY, late)


@pytest.mark.parametrize("secrets", [[SECRET], [OLD], [OLD, SECRET], [SECRET, OLD], ["whsec_others", SECRET]])
def test_either_secret_will_do_while_one_replaces_the_other(secrets: list[str]) -> None:
    sent = signature(BODY, secrets=secrets)

    assert StripeWebhooks([SECRET, OLD], STAMP).read(BODY, sent).notice is not None


def test_without_a_secret_nothing_is_read() -> None:
    for none in ([], [""], [" "]):
        with pytest.raises(ForgedNotice):
            StripeWebhooks(none, STAMP).read(BODY, f"t={NOW},v1={raw_signature(BODY, ''.join(none))}")


def test_secrets_are_not_shown() -> None:
    event_read = read(BODY)

    assert SECRET not in repr(StripeWebhooks([SECRET], STAMP))
    assert "planted" not in repr(event_read)


# --- signed, and malformed


@pytest.mark.parametrize(
    "body",
    [b"nothing", b"", b"[]", b"null", b"1", b'"evt_1"', b"{", b"[" * 100_000, b"9" * 100_000, b"\xef\xbb\xbf{}", b"{}"],
)
def test_signed_bodies_that_are_no_events(body: bytes) -> None:
    with pytest.raises(MalformedNotice):
        read(body)


ODD: list[Any] = [None, True, -1, 1.5, "", "a b", "\0", "\ud800", "x" * 1000, "\u0661", [], {}, 2**53, 10**400]
MEMBERS = [
    *((type, about, path) for type, about, _ in TOLD[:8] for path in ("id", "amount", "amount_received", "currency")),
    *(("charge.refunded", CHARGE, path) for path in ("payment_intent", "amount_refunded", "currency", "metadata")),
    *(("refund.updated", REFUND, path) for path in ("id", "payment_intent", "amount", "currency", "status")),
    *(("charge.dispute.closed", DISPUTE, path) for path in ("id", "payment_intent", "amount", "currency", "status")),
    *(("payment_intent.payment_failed", INTENT, path) for path in ("last_payment_error", "metadata")),
]


@pytest.mark.parametrize(("type", "about", "member"), MEMBERS)
def test_members_that_are_not_what_is_documented(type: str, about: dict[str, Any], member: str) -> None:
    for odd in ODD:
        assert_read_or_refused(event(type, about | {member: odd}))
    assert_read_or_refused(event(type, {name: about[name] for name in about if name != member}))


@pytest.mark.parametrize("member", ["id", "type", "created", "data"])
def test_events_that_are_not_what_is_documented(member: str) -> None:
    for odd in [*ODD, {"object": None}, {"object": []}]:
        sent = event("payment_intent.succeeded", INTENT) | {member: odd}
        if member == "type" and isinstance(odd, str):
            assert_read_or_refused(sent)
        else:
            with pytest.raises(MalformedNotice):
                read(sent)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(TOLD), st.data())
def test_no_event_does_worse_than_being_refused(told: tuple[str, dict[str, Any], Any], data: st.DataObject) -> None:
    type, about, _ = told
    sent = event(type, copy.deepcopy(about))
    place = data.draw(st.sampled_from([sent, sent["data"], sent["data"]["object"]]))
    member = data.draw(st.sampled_from(sorted(place)))
    place[member] = data.draw(json_values)

    assert_read_or_refused(sent)


def assert_read_or_refused(sent: dict[str, Any]) -> None:
    """Either is right; and what was read can be kept by every database."""
    try:
        found = read(sent)
    except MalformedNotice:
        return
    kept = [found.id, *(vars_of(found.notice) if found.notice else [])]
    for value in kept:
        assert value is None or not isinstance(value, str) or (value.isascii() and value.isprintable() and value)
        assert not isinstance(value, int) or 0 <= value < 2**53


def vars_of(found: PaymentNotice) -> list[Any]:
    return [getattr(found, name) for name in PaymentNotice.__slots__]
