"""Reconciliation: the real ledger on each storage, the real stripe library, and the tests' own Stripe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from ledger.actor import Actor, Cause, Role
from ledger.application import OrderLedger
from ledger.cart import CartItem
from ledger.catalogue import Catalogue
from ledger.payments.findings import Finding, State
from ledger.payments.gateway import Intent, PaymentKind, PaymentNotice
from ledger.payments.reconcile import EVER, Reconciler
from ledger.payments.stripe_gateway import StripeGateway
from ledger.payments.stripe_objects import Stamp
from ledger.ports import Ports
from ledger.statuses import Status
from ledger.storage import Database, open_database
from ledger.storage.identity import LedgerId
from ledger.storage.intents import IntentOrders
from ledger.storage.recorder import LogRecorder, read_log
from ledger.storage.reservations import Reservations
from projections.check import differences
from projections.idempotency import ReceiptReads
from projections.migrate import migrate
from projections.standings import StandingReads
from projections.store import inline_writes
from tests.support.storages import ADMIN, CUSTOMER
from tests.support.stripe_objects import Object
from tests.support.stripe_server import SECRET_KEY, StripeServer

PAYMENTS = Actor(None, Role.PAYMENTS)
HOUR = timedelta(hours=1)
_numbers = count(1)


class Watched(StripeGateway):
    """The gateway, with something that happens just before a cancelling, and just after a list."""

    before_cancel: Callable[[str], object] = staticmethod(lambda _: None)
    after_list: Callable[[], object] = staticmethod(lambda: None)

    def cancel_intent(self, intent_id: str) -> Intent:
        self.before_cancel(intent_id)
        return super().cancel_intent(intent_id)

    def list_intents(self, since: datetime) -> Iterator[Intent]:
        listed = list(super().list_intents(since))
        self.after_list()
        yield from listed


@dataclass
class Desk:
    """A ledger, its Stripe, and whoever compares the two; an hour after everything that was done."""

    database: Database
    stripe: StripeServer
    gateway: Watched
    stamp: Stamp
    ledger: OrderLedger
    reservations: Reservations
    page: int = 3
    looked_at: list[int] = field(default_factory=list)

    def order(self, status: Status | None = None, key: str | None = None) -> tuple[int, str]:
        """A new order and its intent's id; moved to a status by staff."""
        cause = Cause(idempotency_key=key, request_hash=key and "hash")
        placed = self.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=cause)
        if status is not None:
            self.ledger.change_status(placed.order_id, status, actor=ADMIN, cause=Cause())
        return placed.order_id, self.stripe.intent_of_order(placed.order_id)["id"]

    def stray(self, order_id: int, amount: int = 1999) -> str:
        """An intent that names this order, and is not the one that it was recorded with."""
        return str(self.stripe.create(amount, "usd", self.stamp.metadata(order_id))["id"])

    def reopen(self, intent_id: str) -> None:
        """The intent of an order that was closed as if Stripe could not be reached then."""
        self.stripe.intent(intent_id)["status"] = "requires_payment_method"

    def reconcile(self, *, fix: bool = False, since: datetime = EVER, late: timedelta = HOUR) -> list[Finding]:
        """All findings, as of so long after now."""
        reconciler = Reconciler(
            ledger=self.ledger,
            gateway=self.gateway,
            standings=StandingReads(self.database, page=self.page),
            reservations=self.reservations,
            clock=lambda: datetime.now(UTC) + late,
            run_id=f"reconcile-{next(_numbers)}",
            fix=fix,
        )
        batches = [*reconciler.intents(since), *reconciler.disputes(since)]
        batches += [*reconciler.orders(since), *reconciler.owing()]
        self.looked_at.append(sum(batch.compared for batch in batches))
        reconciler.prune()
        return [finding for batch in batches for finding in batch.findings]

    def mend(self) -> list[Finding]:
        """What is found; that it is mended, that nothing differs then, and that all is sound."""
        found = self.reconcile()
        assert {finding.state for finding in found} == {State.MENDABLE}
        mended = self.reconcile(fix=True)
        assert [(each.order_id, each.intent_id, each.what) for each in mended] == [
            (each.order_id, each.intent_id, each.what) for each in found
        ]
        assert {finding.state for finding in mended} == {State.MENDED}
        length = len(self.bodies())
        for fix in (False, True):
            assert [finding for finding in self.reconcile(fix=fix) if finding.differs] == []
        assert len(self.bodies()) == length
        return found

    def bodies(self) -> list[Object]:
        """The body of every event."""
        with self.database.snapshot() as cursor:
            return [json.loads(event.body) for event in read_log(cursor)]

    def status(self, order_id: int) -> str:
        """The order's latest status."""
        events = self.ledger.history(order_id)
        moves = [json.loads(event.body)["status"] for event in events if event.type == "StatusChanged"]
        return moves[-1] if moves else "pending"


@pytest.fixture
def desk(storage_url: str) -> Iterator[Desk]:
    database = open_database(storage_url)
    migrate(database)
    with StripeServer() as stripe:
        stamp = Stamp(LedgerId(database))
        gateway = Watched(SECRET_KEY, stamp, api_base=stripe.url, seconds=10, places=8)
        reservations = Reservations(database)
        ports = Ports(
            recorder=LogRecorder(database, inline_writes),
            receipts=ReceiptReads(database),
            gateway=gateway,
            catalogue=Catalogue.load(None),
            currency="usd",
            reserve_order=reservations.held,
            order_of_intent=IntentOrders(database).order_of,
        )
        ledger = OrderLedger(ports)
        yield Desk(database, stripe, gateway, stamp, ledger, reservations)
        assert differences(database) == []
        ledger.close()
        database.close()


def whats(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings]


def test_nothing_differs_in_an_empty_ledger_and_after_ordinary_days(desk: Desk) -> None:
    assert desk.reconcile(fix=True) == []
    desk.order()
    cancelled, _ = desk.order()
    desk.ledger.change_status(cancelled, Status.CANCELLED, actor=CUSTOMER, cause=Cause())
    paid, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.ledger.change_status(paid, Status.ORDER_PAID, actor=CUSTOMER, cause=Cause())
    length = len(desk.bodies())

    assert desk.reconcile() == []
    assert desk.reconcile(fix=True) == []
    assert len(desk.bodies()) == length


def test_intents_that_are_no_orders_are_left_alone(desk: Desk) -> None:
    foreign = [desk.stripe.create(500), desk.stripe.create(500, metadata={"order_id": "7", "ledger_id": "another"})]
    desk.stripe.pay(desk.stripe.create(500)["id"])

    assert desk.reconcile(fix=True) == []
    assert {intent["status"] for intent in foreign} == {"requires_payment_method"}


def test_an_orphan_is_cancelled_once_no_commit_can_be_under_way(desk: Desk) -> None:
    intent_id = desk.stray(77)

    assert desk.reconcile(fix=True, late=timedelta(minutes=14)) == []
    found = desk.mend()

    assert whats(found) == ["it can be paid, and its order does not exist"]
    assert (found[0].order_id, found[0].intent_id) == (77, intent_id)
    assert desk.stripe.intent(intent_id)["status"] == "canceled"


def test_the_repeat_of_a_request_whose_orphan_was_cancelled_gets_an_intent_that_can_be_paid(desk: Desk) -> None:
    order_id, intent_id = desk.order(key="key")
    with desk.database.write() as cursor:  # as if the commit had never come
        for table in ("events", "orders", "idempotency", "payment_intents"):
            cursor.execute(f"DELETE FROM {table}")

    again, same = desk.order(key="key")
    assert (again, same) == (order_id, intent_id)
    with desk.database.write() as cursor:
        for table in ("events", "orders", "idempotency", "payment_intents"):
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute("UPDATE order_reservations SET reserved_at = '2026-01-01T00:00:00.000000Z'")
    desk.mend()
    again, fresh = desk.order(key="key")

    assert (again, fresh) != (order_id, intent_id)
    assert desk.stripe.intent(fresh)["status"] == "requires_payment_method"


@pytest.mark.parametrize(("happens", "what"), [("pay", "was received for an order"), ("advance", "is being paid")])
def test_money_for_an_order_that_does_not_exist_is_for_a_person(desk: Desk, happens: str, what: str) -> None:
    intent_id = desk.stray(77)
    if happens == "pay":
        desk.stripe.pay(intent_id)
    else:
        desk.stripe.advance(intent_id, "processing")

    for fix in (False, True, True):
        found = desk.reconcile(fix=fix)
        assert [(finding.intent_id, finding.state) for finding in found] == [(intent_id, State.FOR_A_PERSON)]
        assert what in found[0].what
    if happens == "pay":
        desk.stripe.refund(intent_id)
        assert desk.reconcile() == []


def test_an_open_intent_beside_the_orders_own_is_cancelled(desk: Desk) -> None:
    order_id, own = desk.order()
    other = desk.stray(order_id)

    assert whats(desk.mend()) == [f"it can be paid beside {own}, the order's own"]

    assert desk.stripe.intent(other)["status"] == "canceled"
    assert desk.stripe.intent(own)["status"] == "requires_payment_method"
    assert desk.status(order_id) == "pending"


def test_money_that_came_beside_the_orders_own_intent_is_recorded_as_an_anomaly(desk: Desk) -> None:
    order_id, own = desk.order()
    other = desk.stray(order_id)
    desk.stripe.pay(other)

    mendable, known = desk.reconcile()
    assert (mendable.state, known.state) == (State.MENDABLE, State.KNOWN)
    assert mendable.what == f"19.99 usd was received beside {own}, the order's own"
    assert [finding.state for finding in desk.reconcile(fix=True)][:2] == [State.MENDED, State.KNOWN]

    assert desk.bodies()[-1]["anomaly"] == "received by another payment intent"
    assert desk.status(order_id) == "pending"
    assert [finding.state for finding in desk.reconcile(fix=True)] == [State.KNOWN, State.NOTED]
    desk.stripe.refund(other)
    assert [finding.state for finding in desk.reconcile(fix=True)] == [State.NOTED]


@pytest.mark.parametrize("status", [Status.DECLINED, Status.CANCELLED, Status.COMPLETED, Status.ORDER_PAID])
def test_an_order_that_does_not_wait_for_its_payment_can_not_be_paid(desk: Desk, status: Status) -> None:
    order_id, intent_id = desk.order(status)
    assert desk.reconcile() == []
    desk.reopen(intent_id)

    assert whats(desk.mend()) == [f"it can be paid, and the order is {status}"]
    assert desk.stripe.intent(intent_id)["status"] == "canceled"
    assert desk.status(order_id) == status


@pytest.mark.parametrize(
    ("happens", "what", "status"),
    [
        (lambda stripe, intent: stripe.pay(intent), "19.99 usd was received", "order_paid"),
        (lambda stripe, intent: stripe.fail(intent), "its payment is failed", "payment_failed"),
        (lambda stripe, intent: stripe.cancel(intent), "its payment is canceled", "cancelled"),
        (lambda stripe, intent: stripe.advance(intent, "processing"), "its payment is processing", "awaiting_payment"),
        (lambda stripe, intent: stripe.advance(intent, "requires_action"), "its payment is requires_action", None),
        (lambda stripe, intent: stripe.advance(intent, "requires_capture"), "its payment is authorized", None),
    ],
    ids=["received", "failed", "canceled", "processing", "requires_action", "authorized"],
)
def test_what_no_webhook_told_is_recorded(
    desk: Desk, happens: Callable[[StripeServer, str], object], what: str, status: str | None
) -> None:
    order_id, intent_id = desk.order()
    happens(desk.stripe, intent_id)

    assert whats(desk.mend()) == [f"{what}, which the order does not know"]

    assert desk.status(order_id) == (status or "awaiting_payment")
    recorded = next(body for body in desk.bodies() if body.get("kind"))
    assert recorded["actor"] == {"user": None, "role": "payments"}
    assert recorded["cause"] == {"request_id": f"reconcile-{next(_numbers) - 3}", "part_of_version": 3}


def test_why_a_payment_failed_is_recorded(desk: Desk) -> None:
    _, intent_id = desk.order()
    desk.stripe.fail(intent_id, "insufficient_funds")

    desk.mend()

    assert [body["detail"] for body in desk.bodies() if body.get("kind")] == ["insufficient_funds"]


def test_refunds_are_recorded_one_by_one(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.reconcile(fix=True)
    desk.stripe.refund(intent_id, 500)
    desk.stripe.refund(intent_id, 200)

    assert whats(desk.mend()) == [
        f"a refund of {amount} usd is succeeded, which the order does not know" for amount in ("2.00", "5.00")
    ]

    assert desk.bodies()[-1]["totals"]["refunded_in_cents"] == 700
    assert desk.status(order_id) == "order_paid"


def test_more_was_received_than_the_gateway_knows(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.reconcile(fix=True)
    desk.stripe.intent(intent_id)["amount_received"] = 1000

    found = desk.reconcile(fix=True)

    assert (found[0].order_id, found[0].state) == (order_id, State.FOR_A_PERSON)
    assert found[0].what == "19.99 usd was received for the order, 10.00 usd for the gateway"


def test_notices_are_dated_in_whole_seconds_as_the_gateways_are(desk: Desk) -> None:
    _, intent_id = desk.order()
    desk.stripe.fail(intent_id)
    desk.reconcile(fix=True)
    recorded = next(body for body in desk.bodies() if body.get("kind"))
    assert recorded["occurred_at"].endswith(".000000Z")


def test_orders_that_were_begun_at_the_sandbox_are_left_alone(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    with desk.database.write() as cursor:
        cursor.execute("UPDATE payment_intents SET intent_id = ? WHERE order_id = ?", ("pi_sandbox_1", order_id))
    desk.stripe.intents.clear()
    assert desk.reconcile(fix=True) == []
    with desk.database.write() as cursor:
        cursor.execute("UPDATE payment_intents SET intent_id = ? WHERE order_id = ?", (intent_id, order_id))


def test_a_refund_that_failed_unheard_and_one_after_it_are_recorded(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.reconcile(fix=True)
    made = desk.ledger.refund_order(order_id, 500, actor=ADMIN, cause=Cause())
    desk.stripe.settle_refund(made.refund.id, "failed")

    assert whats(desk.mend()) == ["a refund of 5.00 usd is failed, which the order does not know"]
    assert desk.bodies()[-1]["totals"]["refunded_in_cents"] == 0

    desk.stripe.refund(intent_id, 300)
    assert whats(desk.mend()) == ["a refund of 3.00 usd is succeeded, which the order does not know"]
    assert desk.bodies()[-1]["totals"]["refunded_in_cents"] == 300


def test_refunds_that_no_list_explains_are_for_a_person(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.reconcile(fix=True)
    made = desk.ledger.refund_order(order_id, 500, actor=ADMIN, cause=Cause())
    charge = desk.stripe.charges[desk.stripe.intent(intent_id)["latest_charge"]]
    del desk.stripe.refunds[made.refund.id]
    charge["amount_refunded"] = 0

    for fix in (False, True):
        found = desk.reconcile(fix=fix)
        assert whats(found) == ["5.00 usd was refunded for the order, 0.00 usd for the gateway"]
        assert found[0].state is State.FOR_A_PERSON


def test_a_dispute_that_began_long_ago_and_ended_unheard(desk: Desk) -> None:
    _, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.stripe.dispute(intent_id)
    desk.reconcile(fix=True)
    (dispute,) = desk.stripe.disputes.values()
    dispute["created"] -= 60 * 24 * 3600
    desk.stripe.close_dispute(dispute["id"], "won")

    found = desk.reconcile(fix=True, since=datetime.now(UTC) - timedelta(days=30))

    assert whats(found) == ["a dispute of 19.99 usd is won, which the order does not know"]


def test_disputes_are_recorded_as_they_begin_and_end(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.pay(intent_id)
    desk.stripe.pay(desk.stripe.create(500)["id"])  # of somebody else
    desk.reconcile(fix=True)
    desk.stripe.dispute(intent_id, 1200)

    mended, noted = desk.reconcile(fix=True)
    assert mended.what == "a dispute of 12.00 usd is needs response, which the order does not know"
    assert (noted.what, noted.state) == ("disputes are open: 1", State.NOTED)
    assert desk.bodies()[-1]["totals"]["open_disputes"] == 1
    desk.stripe.close_dispute(next(iter(desk.stripe.disputes)), "lost")
    (mended,) = desk.reconcile(fix=True)
    assert mended.what == "a dispute of 12.00 usd is lost, which the order does not know"
    assert desk.reconcile() == []
    assert desk.bodies()[-1]["totals"]["lost_in_cents"] == 1200
    assert desk.status(order_id) == "order_paid"


def test_a_payment_of_another_amount_is_recorded_once_as_an_anomaly(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.pay(intent_id, 1500)

    assert desk.reconcile(fix=True)[0].state is State.MENDED

    assert desk.bodies()[-1]["anomaly"]
    assert desk.status(order_id) == "pending"
    noted, owing = desk.reconcile(fix=True)
    assert (noted.what, noted.state) == ("anomalies are recorded: 1", State.NOTED)
    assert (owing.what, owing.remedy) == (
        "15.00 usd is kept, and the order is pending",
        "refund it, or move the order on",
    )


def test_orders_whose_intents_are_not_listed_are_looked_up_one_by_one(desk: Desk) -> None:
    orders = [desk.order() for _ in range(8)]
    for number in (0, 3):  # made long before their orders, by a request that was repeated
        desk.stripe.intent(orders[number][1])["created"] -= 100 * 24 * 3600
    desk.stripe.pay(orders[3][1])
    del desk.stripe.intents[orders[5][1]]
    desk.stripe.intent(orders[6][1])["metadata"].clear()
    desk.stripe.requests.clear()

    found = desk.reconcile(since=datetime.now(UTC) - timedelta(days=30), fix=True)

    assert desk.looked_at == [8]
    assert [(finding.order_id, finding.state) for finding in found] == [
        (orders[5][0], State.FOR_A_PERSON),
        (orders[3][0], State.MENDED),
    ]
    assert found[0].what == "the gateway knows no such payment intent"
    retrieved = [seen.path.rpartition("/")[2] for seen in desk.stripe.requests if seen.path.count("/") == 3]
    assert sorted(retrieved) == sorted(orders[number][1] for number in (0, 3, 3, 5))
    assert desk.status(orders[3][0]) == "order_paid"


def test_orders_that_money_is_kept_for_are_listed(desk: Desk) -> None:
    order_id, intent_id = desk.order(Status.DECLINED)
    desk.reopen(intent_id)
    desk.stripe.pay(intent_id)

    assert [finding.differs for finding in desk.reconcile()] == [True]
    desk.reconcile(fix=True)

    found = desk.reconcile()
    assert [(finding.order_id, finding.state) for finding in found] == [(order_id, State.KNOWN)]
    assert found[0].what == "19.99 usd is kept, and the order is declined"
    desk.ledger.refund_order(order_id, None, actor=ADMIN, cause=Cause())
    assert desk.reconcile() == []


def test_many_pages(desk: Desk) -> None:
    desk.page = 500
    for number in range(240):
        desk.stray(1000 + number)
    order_id, intent_id = desk.order()
    desk.stripe.intents[intent_id] = desk.stripe.intents.pop(intent_id)
    desk.stripe.intents = dict(reversed(desk.stripe.intents.items()))
    desk.stripe.pay(intent_id)

    found = desk.reconcile()

    assert len(found) == 241
    assert [finding.order_id for finding in found if "received" in finding.what] == [order_id]
    assert desk.looked_at == [241]


def test_paid_while_it_is_being_cancelled(desk: Desk) -> None:
    order_id, intent_id = desk.order(Status.DECLINED)
    desk.reopen(intent_id)
    desk.gateway.before_cancel = desk.stripe.pay

    found = desk.reconcile(fix=True)

    assert whats(found) == [
        "19.99 usd was received, which the order does not know",
        "19.99 usd is kept, and the order is declined",
    ]
    assert [finding.state for finding in found] == [State.MENDED, State.KNOWN]
    assert desk.status(order_id) == "declined"


def test_what_was_recorded_since_the_list_was_read_is_no_difference(desk: Desk) -> None:
    order_id, intent_id = desk.order()
    desk.stripe.fail(intent_id)

    def webhooks_arrive() -> None:
        desk.stripe.pay(intent_id)
        at = "2026-01-01T00:00:00.000000Z"
        notice = PaymentNotice(PaymentKind.RECEIVED, intent_id, 1999, "usd", at, order_id)
        desk.ledger.record_payment(notice, actor=PAYMENTS, cause=Cause(stripe_event_id="evt_1"))

    desk.gateway.after_list = webhooks_arrive

    assert desk.reconcile(fix=True) == []
    assert desk.status(order_id) == "order_paid"


def test_two_at_once(desk: Desk) -> None:
    for number in range(6):
        _, intent_id = desk.order(Status.DECLINED if number % 3 == 0 else None)
        if number % 3 == 0:
            desk.reopen(intent_id)
        if number % 3 == 1:
            desk.stripe.pay(intent_id)
        desk.stray(500 + number)

    with ThreadPoolExecutor(2) as pool:
        found = [finding for run in pool.map(lambda _: desk.reconcile(fix=True), range(2)) for finding in run]

    assert {finding.state for finding in found} == {State.MENDED}
    assert desk.reconcile() == []
    assert sum(body.get("kind") == "received" for body in desk.bodies()) == 2


def test_reservations_are_forgotten_a_day_later_and_only_with_fix(desk: Desk) -> None:
    desk.order(key="old")

    def reserved() -> int:
        with desk.database.read() as cursor:
            return len(cursor.execute("SELECT digest FROM order_reservations"))

    day = timedelta(days=1)
    desk.reconcile(late=day + HOUR)
    desk.reconcile(fix=True, late=day - HOUR)
    assert reserved() == 1
    desk.reconcile(fix=True, late=day + HOUR)
    assert reserved() == 0


def test_paid_by_a_retry_while_it_is_being_cancelled(desk: Desk) -> None:
    """The intent had no order when it was looked at, and has one that is paid when cancelling it fails."""
    order_id, _ = desk.order()
    with desk.database.read() as cursor:
        rows = {table: cursor.execute(f"SELECT * FROM {table}") for table in ("orders", "payment_intents", "events")}
    _without(desk, rows)

    def committed_and_paid(intent: str) -> None:
        _again(desk, rows)
        desk.stripe.pay(intent)

    desk.gateway.before_cancel = committed_and_paid

    assert whats(desk.reconcile(fix=True)) == ["19.99 usd was received, which the order does not know"]
    assert desk.status(order_id) == "order_paid"


def _without(desk: Desk, rows: dict[str, list[tuple[object, ...]]]) -> None:
    with desk.database.write() as cursor:
        for table in rows:
            cursor.execute(f"DELETE FROM {table}")


def _again(desk: Desk, rows: dict[str, list[tuple[object, ...]]]) -> None:
    with desk.database.write() as cursor:
        for table, kept in rows.items():
            cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kept[0]))})", kept)
