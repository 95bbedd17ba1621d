"""What checkpoints say of the orders that were served: what the log comes to, however the follower got there."""

from __future__ import annotations

from random import Random

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.catalogue import Catalogue
from ledger.statuses import Status
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import Note
from projections import transparency
from projections.attested import Attested, attest_anew, forget_attested, read_attested
from projections.live import LiveViews
from projections.orders import VIEW
from projections.rebuild import rebuild, roll_back
from projections.store import VIEWS
from projections.transparency import Follower, log_sizes
from projections.verify import verify_database
from scripts.sowing import Sower
from tests.support.busy import log_key, make_busy
from tests.support.storages import CUSTOMER, PAYMENTS, STAFF, Store, opened_store

KEY = log_key()
SERVED_OTHERWISE = "the orders that were served then are not those that the log comes to"


def fill(store: Store, orders: int) -> None:
    """New orders in several states."""
    for _ in range(orders):
        order_id = store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause()).order_id
        if order_id % 3 == 0:
            paid = Cause(stripe_event_id=f"evt_{order_id}")
            store.ledger.record_payment(store.gateway.settle(order_id), actor=PAYMENTS, cause=paid)
        if order_id % 3 == 1:
            store.ledger.change_status(order_id, Status.AWAITING_PAYMENT, actor=STAFF, cause=Cause())


def follow(store: Store, batch: int = 2000) -> None:
    following = Follower(store.database, [KEY], KEY.name, clock=store.ports.clock, batch=batch)
    while following.step():
        pass


def checkpoints(store: Store) -> list[Checkpoint]:
    with store.database.read() as cursor:
        rows = cursor.execute("SELECT note FROM log_checkpoints ORDER BY size")
    return [Checkpoint.parse(Note.parse(note.encode()).text) for (note,) in rows]


def attested(store: Store) -> Attested:
    with store.database.read() as cursor:
        found = read_attested(cursor)
    assert found is not None
    return found


def faults(store: Store) -> list[str]:
    return verify_database(store.database, [], [KEY.verifier]).findings.faults


def plant(store: Store, statement: str) -> None:
    with store.database.write() as cursor:
        cursor.execute(statement)


def test_every_checkpoint_has_the_orders_of_its_size(store: Store) -> None:
    make_busy(store)
    follow(store)
    fill(store, 12)
    follow(store)

    first, second = checkpoints(store)
    assert [line.split()[:2] for each in (first, second) for line in each.extensions] == [
        ["orders", "4"],
        ["orders", "16"],
    ]
    assert first.extensions != second.extensions
    assert faults(store) == []


@pytest.mark.parametrize("seed", range(3))
def test_step_by_step_it_comes_to_what_a_pass_over_the_view_comes_to(store: Store, seed: int) -> None:
    random = Random(seed)
    for number in range(8):
        fill(store, random.randrange(1, 9))
        if number == 5:
            forget_attested(store.database)
        follow(store, batch=random.choice([1, 3, 2000]))
    kept = attested(store)
    forget_attested(store.database)
    attest_anew(LiveViews(store.database, VIEWS))

    assert (kept.size, kept.line) == (attested(store).size, attested(store).line)
    assert kept.size == log_sizes(store.database).head
    assert faults(store) == []
    assert all(each.extensions for each in checkpoints(store)[-1:])


def test_orders_that_move_after_they_were_attested_to(store: Store) -> None:
    fill(store, 4)
    follow(store)
    store.ledger.change_status(1, Status.CANCELLED, actor=STAFF, cause=Cause())
    store.ledger.record_payment(store.gateway.settle(2), actor=PAYMENTS, cause=Cause())
    follow(store)
    store.ledger.change_status(2, Status.SHIPPED, actor=STAFF, cause=Cause())
    store.ledger.change_status(2, Status.COMPLETED, actor=STAFF, cause=Cause())
    follow(store)

    kept = attested(store)
    forget_attested(store.database)
    attest_anew(LiveViews(store.database, VIEWS))
    assert (kept.size, kept.line) == (attested(store).size, attested(store).line)
    assert len({line for each in checkpoints(store) for line in each.extensions}) == 3
    assert faults(store) == []


def test_seeded_histories_are_attested_to_while_they_grow(database_url: str) -> None:
    with opened_store(database_url) as store:
        sower = Sower(
            ledger=store.ledger,
            database=store.database,
            catalogue=Catalogue.load(None),
            currency="usd",
            rng=Random(4),
            users=9,
        )
        for _ in sower.sow(400):
            follow(store, batch=100)
        follow(store)
        assert any(each.extensions for each in checkpoints(store))
        assert faults(store) == []


def test_orders_that_are_served_otherwise_are_signed_as_they_are_served(store: Store) -> None:
    fill(store, 9)
    follow(store)
    plant(store, "UPDATE orders SET document = replace(document, '1999', '1') WHERE order_id = 2")
    forget_attested(store.database)  # as a follower that begins has not seen the orders before
    fill(store, 1)
    follow(store)

    [found] = [fault for fault in faults(store) if SERVED_OTHERWISE in fault]
    assert found.startswith(f"checkpoint of {log_sizes(store.database).head}: ")


def test_a_change_of_what_is_served_shows_when_the_order_moves(store: Store) -> None:
    fill(store, 1)
    follow(store)
    store.ledger.change_status(1, Status.ORDER_PAID, actor=STAFF, cause=Cause())
    plant(store, "UPDATE orders SET status = 'pending'")
    follow(store)

    assert any(SERVED_OTHERWISE in fault for fault in faults(store))


def test_a_view_that_is_made_again_is_attested_to_anew(store: Store) -> None:
    fill(store, 6)
    plant(store, "UPDATE orders SET document = replace(document, '1999', '1') WHERE order_id = 2")
    follow(store)
    assert any(SERVED_OTHERWISE in fault for fault in faults(store))

    rebuild(store.database, VIEW, VIEWS)
    fill(store, 1)
    follow(store)
    assert [fault for fault in faults(store) if f"checkpoint of {log_sizes(store.database).head}:" in fault] == []
    roll_back(store.database, VIEW, VIEWS)
    fill(store, 1)
    follow(store)
    assert any(f"checkpoint of {log_sizes(store.database).head}:" in fault for fault in faults(store))


def test_while_it_catches_up_it_says_nothing_of_orders(store: Store) -> None:
    fill(store, 1)
    follow(store)
    fill(store, 30)
    following = Follower(store.database, [KEY], KEY.name, clock=store.ports.clock, batch=5)
    following.step()
    assert [bool(each.extensions) for each in checkpoints(store)] == [True, False]
    while following.step():
        pass
    assert checkpoints(store)[-1].extensions
    assert faults(store) == []


def test_after_many_events_all_orders_are_hashed_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transparency, "_ANEW", 10)
    fill(store, 3)
    follow(store)
    fill(store, 20)
    follow(store)
    assert attested(store).size == log_sizes(store.database).head
    assert faults(store) == []


@pytest.mark.parametrize(
    "stream", ["order-", "order-x", "order-00000000000000000001", "order-99999999999999999", "orderly"]
)
def test_streams_that_no_order_has_stop_nothing(store: Store, stream: str) -> None:
    fill(store, 1)
    follow(store)
    plant(store, f"INSERT INTO events SELECT max(position) + 1, '{stream}', 1, 'StatusChanged', 'x' FROM events")
    follow(store)
    assert checkpoints(store)[-1].size == log_sizes(store.database).head


def test_a_body_that_makes_no_sense_stops_nothing(store: Store) -> None:
    fill(store, 1)
    follow(store)
    plant(store, "INSERT INTO events SELECT max(position) + 1, 'order-1', 9, 'StatusChanged', 'x' FROM events")
    follow(store)
    assert any(SERVED_OTHERWISE in fault for fault in faults(store))
