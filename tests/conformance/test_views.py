"""Views on every storage: a replay equals what was kept inline, and what was planted is found."""

from __future__ import annotations

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.errors import SettingsError
from ledger.leads import LeadMove
from ledger.outcomes import Outcome
from ledger.statuses import Status
from ledger.storage.reservations import Reservations
from projections.check import differences
from projections.health import Health
from projections.migrate import migrate, missing, view_versions
from tests.support.storages import CUSTOMER, PAYMENTS, STAFF, Store


@pytest.fixture
def busy(store: Store) -> Store:
    """A ledger with three orders, moves, keys, a payment and a board."""
    for number in range(3):
        cause = Cause(idempotency_key=f"k{number}", request_hash="h")
        store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=cause)
    store.ledger.change_status(2, Status.CANCELLED, actor=CUSTOMER, cause=Cause())
    store.ledger.change_status(3, Status.AWAITING_PAYMENT, actor=STAFF, cause=Cause())
    store.ledger.arrange_leads([LeadMove(1, 4)], actor=CUSTOMER, cause=Cause())
    store.ledger.record_payment(store.gateway.settle(3), actor=PAYMENTS, cause=Cause(stripe_event_id="evt_1"))
    return store


def plant(store: Store, statement: str) -> None:
    with store.database.write() as cursor:
        cursor.execute(statement)


def test_a_sound_ledger_has_no_differences(busy: Store) -> None:
    busy.assert_sound()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE orders SET status = 'shipped' WHERE order_id = 1", "orders: row (1,) is"),
        ("UPDATE orders SET version = 7 WHERE order_id = 1", "orders: row (1,) is"),
        ("DELETE FROM orders WHERE order_id = 2", "orders: row (2,) of the replay is missing"),
        ("INSERT INTO lead_boards VALUES (9, '[1, 2, 3, 4]', 1)", "lead_boards: row (9,) is not in the replay"),
        ("UPDATE payments SET received = 0 WHERE order_id = 3", "payments: row (3,) is"),
        ("DELETE FROM payments", "payments: row (3,) of the replay is missing"),
        ("INSERT INTO payments VALUES (1, '', 0, 0, 0, 0, 0, 0, '')", "payments: row (1,) is not in the replay"),
        ("DELETE FROM idempotency WHERE source = 'stripe'", "idempotency: row ('stripe', 'evt_1') of the replay"),
        ("DELETE FROM idempotency", "idempotency: row ('user-1', 'k0') of the replay is missing"),
        ("DELETE FROM events WHERE position = 2", "log: position 2 is missing"),
        ("DELETE FROM events WHERE stream = 'order-2' AND version = 1", "log: order-2 jumps to version 2"),
        ("UPDATE events SET stream = 'order-9' WHERE position = 4", "orders: the log can't be replayed"),
        ("UPDATE payment_intents SET amount = 1 WHERE order_id = 1", "payment_intents: order 1 has"),
        ("INSERT INTO payment_intents VALUES (9, 'pi_9', 's', 1, 'usd')", "payment_intents: order 9 has"),
        ("UPDATE events SET body = '[]' WHERE position = 1", "orders: the log can't be replayed"),
        ("DELETE FROM payment_intents WHERE order_id = 1", "payment_intents: order 1 has none"),
        ("UPDATE events SET body = 'x' WHERE position = 1", "orders: the log can't be replayed"),
    ],
)
def test_what_is_planted_is_found(busy: Store, statement: str, finding: str) -> None:
    plant(busy, statement)
    found = differences(busy.database)
    assert any(line.startswith(finding) for line in found), found


@pytest.mark.parametrize("known", [False, True])
def test_a_view_that_is_missing_is_filled_from_the_log(busy: Store, known: bool) -> None:
    plant(busy, "DROP TABLE orders")
    if not known:
        plant(busy, "DELETE FROM views WHERE name = 'orders'")
    assert "A view is missing" in (Health(busy.database).problem() or "")
    migrate(busy.database)
    assert Health(busy.database).problem() is None
    busy.assert_sound()


def test_a_database_from_before_payments_were_recorded_is_brought_up_to_date(store: Store) -> None:
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
    notice, told = store.gateway.settle(1), Cause(stripe_event_id="evt_old")
    store.ledger.change_status(1, Status.ORDER_PAID, actor=PAYMENTS, cause=told)  # all that a webhook recorded then
    for table in ("payments", "order_reservations", "sandbox_refunds"):
        plant(store, f"DROP TABLE {table}")
    plant(store, "DELETE FROM views WHERE name = 'payments'")
    assert "A view is missing" in (Health(store.database).problem() or "")
    migrate(store.database)
    assert Health(store.database).problem() is None
    store.assert_sound()
    again = store.ledger.record_payment(notice, actor=PAYMENTS, cause=told)
    assert again == Outcome(1, 2, Status.ORDER_PAID, replayed=True)
    mended = store.ledger.record_payment(notice, actor=PAYMENTS, cause=Cause(request_id="reconcile"))
    assert mended == Outcome(1, 3, Status.ORDER_PAID)
    refunded = store.ledger.refund_order(1, None, actor=STAFF, cause=Cause())
    assert (refunded.refund.amount, refunded.version) == (1999, 4)
    assert Reservations(store.database).held("digest").order_id == 2
    store.assert_sound()


@pytest.mark.parametrize(
    "statement", ["UPDATE views SET version = 99 WHERE name = 'orders'", "UPDATE ledger_schema SET version = 99"]
)
def test_what_another_release_made_is_refused(busy: Store, statement: str) -> None:
    plant(busy, "DROP TABLE lead_boards")
    plant(busy, "DELETE FROM views WHERE name = 'lead_boards'")
    plant(busy, statement)
    assert "another release" in (missing(busy.database) or "")
    with pytest.raises(SettingsError, match="another release"):
        migrate(busy.database)
    with busy.database.read() as cursor:
        assert "lead_boards" not in view_versions(cursor)


def test_migrate_moves_order_ids_past_every_order_there_is(busy: Store) -> None:
    rewind = {"sqlite": "UPDATE order_ids SET last = 1", "postgres": "ALTER SEQUENCE order_ids RESTART"}
    plant(busy, rewind[busy.database.dialect])
    migrate(busy.database)
    assert list(busy.database.next_order_ids()) == [4]
    plant(busy, "INSERT INTO order_reservations VALUES ('digest', 9, 'key', '2026-01-01T00:00:00.000000Z')")
    migrate(busy.database)
    assert list(busy.database.next_order_ids()) == [10]


def test_a_schema_without_its_version_is_another_releases(busy: Store) -> None:
    plant(busy, "DELETE FROM ledger_schema")
    assert "another release" in (missing(busy.database) or "")


def test_health_knows_the_head(busy: Store) -> None:
    assert Health(busy.database).head() == 8
