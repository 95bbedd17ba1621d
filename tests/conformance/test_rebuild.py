"""Rebuilds on every storage: what they leave, what they refuse, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from eventsourcing.persistence import StoredEvent

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.errors import LedgerError, StorageUnavailable
from ledger.statuses import Status
from projections import batches
from projections.check import differences
from projections.health import Health
from projections.migrate import migrate
from projections.poison import Poison, PoisonEvent
from projections.rebuild import rebuild, roll_back
from projections.store import VIEWS
from projections.view import View
from projections.watcher import Progress, Watcher
from tests.support.rebuilds import VIEW_OF, fill, rows_of, tables_of
from tests.support.storages import CUSTOMER, STAFF, Store

ORDERS = VIEW_OF["orders"]
INDEXES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'orders' AND sql IS NOT NULL",
    "postgres": "SELECT indexname FROM pg_indexes WHERE tablename = 'orders' AND indexname NOT LIKE '%pkey'",
}


def plant(store: Store, statement: str, parameters: Sequence[object] = ()) -> None:
    with store.database.write() as cursor:
        cursor.execute(statement, parameters)


def plant_event(store: Store, stream: str, version: int, type: str, body: str) -> int:
    """An event as no command makes it, past the views."""
    with store.database.write() as cursor:
        [(position,)] = cursor.execute("SELECT coalesce(max(position), 0) + 1 FROM events")
        cursor.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (position, stream, version, type, body))
    return int(position)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_rebuild_mends_what_was_damaged(store: Store, view: View) -> None:
    fill(store, 12)
    sound = rows_of(store, view)
    plant(store, f"DELETE FROM {view.table.name}")
    ended = rebuild(store.database, view, VIEWS)
    assert (ended.phase, ended.done, ended.skipped) == ("done", store.recorder.max_notification_id(), 0)
    assert rows_of(store, view) == sound != []
    store.assert_sound()


def test_a_rebuild_of_an_empty_log(store: Store) -> None:
    for view in VIEWS:
        assert rebuild(store.database, view, VIEWS).done == 0
    store.assert_sound()


def test_the_way_back_takes_in_what_came_since(store: Store) -> None:
    fill(store, 6)
    rebuild(store.database, ORDERS, VIEWS)
    store.ledger.create_order([CartItem("2")], actor=CUSTOMER, cause=Cause())
    store.ledger.change_status(3, Status.CANCELLED, actor=CUSTOMER, cause=Cause())
    inline = rows_of(store)
    plant(store, "UPDATE orders SET document = 'spoilt by the new release'")
    roll_back(store.database, ORDERS, VIEWS)
    assert rows_of(store) == inline
    roll_back(store.database, ORDERS, VIEWS)  # and forth: nothing is lost by it
    assert all(row[-1] == "spoilt by the new release" for row in rows_of(store))


def test_indexes_are_there_after_any_number_of_swaps(store: Store) -> None:
    fill(store, 3)
    for _ in range(4):
        rebuild(store.database, ORDERS, VIEWS)
        with store.database.read() as cursor:
            names = sorted(name for (name,) in cursor.execute(INDEXES[store.database.dialect]))
        assert [name.rstrip("_23") for name in names] == [
            "orders_by_user_id_order_id",
            "orders_by_user_id_status_order_id",
        ]
        roll_back(store.database, ORDERS, VIEWS)
    assert [name for name in tables_of(store) if name.startswith("orders")] == ["orders", "orders_old"]


def test_many_batches_and_rows_changed_across_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_PAGE", 3)
    monkeypatch.setattr(batches, "_CHARACTERS", 1000)
    fill(store, 30)
    told: list[Progress] = []
    rebuild(store.database, ORDERS, VIEWS, watcher=Watcher(tell=told.append))
    store.assert_sound()
    copying = [progress.done for progress in told if progress.phase == "copying"]
    assert len(copying) > 10
    assert copying == sorted(copying)
    assert copying[-1] == told[-1].done == told[-1].head


def test_a_view_without_events_notes_how_far_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_SPARSE", 0)
    monkeypatch.setattr(batches, "_PAGE", 5)
    store.recorder.insert_events([StoredEvent("other-1", version, "Unrelated", b"{}") for version in range(1, 21)])
    told: list[Progress] = []
    rebuild(store.database, ORDERS, VIEWS, watcher=Watcher(tell=told.append))
    assert [progress.done for progress in told if progress.phase == "copying"] == [0, 5, 10, 15, 20]
    store.assert_sound()


def _created(**members: object) -> str:
    """The body of a new order's event, but for these members."""
    body = {"timestamp": "", "actor": {"user": 1, "role": "customer"}, "cause": {}, "order_id": 1, "user_id": 1}
    body |= {"lines": [], "amount_in_cents": 1, "currency": "usd", "payment_intent_id": "pi_1"}
    return json.dumps(body | members)


POISONS = {
    "no JSON": ("order-1", 99, "StatusChanged", "{"),
    "a body on two lines that is none": ("order-1", 99, "StatusChanged", '{"status":\n7}'),
    "another shape": ("order-1", 99, "StatusChanged", '{"status": 7}'),
    "no object": ("order-1", 99, "OrderCreated", "[]"),
    "a later version": ("order-1", 99, "StatusChanged", '{"class_version": 2}'),
    "a row that was never made": (
        "order-7777",
        1,
        "StatusChanged",
        '{"actor":{"user":1},"cause":{},"status":"shipped"}',
    ),
    "a stream that is no order's": ("x", 1, "StatusChanged", '{"actor":{"user":1},"cause":{},"status":"shipped"}'),
    "a number without end": (
        "order-9",
        1,
        "OrderCreated",
        _created(order_id=9, user_id=10**20),
    ),
    "a row that is there": (
        "order-77",
        1,
        "OrderCreated",
        _created(order_id=1),
    ),
    "half a character": ("order-9", 1, "OrderCreated", _created(order_id=9, timestamp="\ud800")),
    "a nesting without end": ("order-9", 1, "OrderCreated", '{"more":' + "[" * 100_000 + "]" * 100_000 + "}"),
}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("a row that is there", "makes row .1,. a second time"),
        ("a number without end", "user_id can't be"),
        ("half a character", "surrogates not allowed"),
        ("a nesting without end", "nested too deeply"),
    ],
)
def test_poison_is_what_its_name_says(store: Store, kind: str, reason: str) -> None:
    fill(store, 2)
    plant_event(store, *POISONS[kind])
    with pytest.raises(PoisonEvent, match=reason):
        rebuild(store.database, ORDERS, VIEWS)


@pytest.mark.parametrize("kind", POISONS)
def test_poison_stops_a_rebuild_or_is_set_aside(store: Store, kind: str) -> None:
    fill(store, 6)
    sound = rows_of(store)
    position = plant_event(store, *POISONS[kind])
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
    after = rows_of(store)
    plant(store, "DELETE FROM orders WHERE order_id = 2")
    with pytest.raises(PoisonEvent, match=f"orders: the event at position {position} ") as refused:
        rebuild(store.database, ORDERS, VIEWS)
    assert POISONS[kind][0] in str(refused.value)
    assert len(rows_of(store)) == len(sound)  # one was deleted, one has come: the live view is what it was

    kept: list[Poison] = []
    ended = rebuild(store.database, ORDERS, VIEWS, set_aside=kept.extend)
    assert [(poison.event.position, poison.event.body) for poison in kept] == [(position, POISONS[kind][3])]
    assert (ended.skipped, rows_of(store)) == (1, after)


@pytest.mark.parametrize("kind", POISONS)
def test_poison_that_comes_while_a_rebuild_catches_up(store: Store, kind: str) -> None:
    fill(store, 3)

    def at(phase: str) -> None:
        if phase == "swapping" and not planted:
            planted.append(plant_event(store, *POISONS[kind]))

    planted: list[int] = []
    with pytest.raises(PoisonEvent):
        rebuild(store.database, ORDERS, VIEWS, watcher=Watcher(at=at))
    kept: list[Poison] = []
    assert rebuild(store.database, ORDERS, VIEWS, set_aside=kept.extend).skipped == 1
    assert [poison.event.position for poison in kept] == planted


def test_there_is_no_way_back_to_a_table_that_was_dropped(store: Store) -> None:
    fill(store, 3)
    rebuild(store.database, ORDERS, VIEWS)
    plant(store, "DROP TABLE orders_old")
    with pytest.raises(LedgerError, match="no former table"):
        roll_back(store.database, ORDERS, VIEWS)
    rebuild(store.database, ORDERS, VIEWS)
    store.assert_sound()


def test_after_poison_a_rebuild_begins_anew(store: Store) -> None:
    """What was taken in before may have been mended, too."""
    fill(store, 6)
    sound = rows_of(store)
    position = plant_event(store, *POISONS["no JSON"])
    with store.database.read() as cursor:
        [(body,)] = cursor.execute("SELECT body FROM events WHERE position = 1")
    plant(store, "UPDATE events SET body = ? WHERE position = 1", (body.replace('"user_id":', '"user_id":9'),))
    for set_aside in (None, lambda _: None):
        with pytest.raises((PoisonEvent, KeyboardInterrupt)):
            rebuild(store.database, ORDERS, VIEWS, set_aside=set_aside, watcher=Watcher(at=_interrupted_at_index))
    plant(store, "UPDATE events SET body = ? WHERE position = 1", (body,))
    plant(store, "DELETE FROM events WHERE position = ?", (position,))
    rebuild(store.database, ORDERS, VIEWS, set_aside=lambda _: None)
    assert rows_of(store) == sound


def _interrupted_at_index(phase: str) -> None:
    if phase == "indexing":
        raise KeyboardInterrupt


def test_an_event_that_no_view_knows_is_no_poison(store: Store) -> None:
    fill(store, 3)
    plant_event(store, "other-1", 1, "NeverHeardOf", "not even JSON")
    assert rebuild(store.database, ORDERS, VIEWS).skipped == 0


def test_what_was_left_with_events_set_aside_is_not_gone_on_with_unasked(store: Store) -> None:
    fill(store, 3)
    plant_event(store, *POISONS["no JSON"])

    def stop(phase: str) -> None:
        if phase == "indexing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(store.database, ORDERS, VIEWS, watcher=Watcher(at=stop), set_aside=lambda _: None)
    with pytest.raises(PoisonEvent):
        rebuild(store.database, ORDERS, VIEWS)


def test_a_body_that_spells_its_members_otherwise_is_read_all_the_same(store: Store) -> None:
    """As one of another program may: with spaces and lines, with members in any order and some that nobody knows."""
    fill(store, 1)
    body = '{ "more": [1],\n"status": "shipped",\n"cause": {}, "actor": {"user": 1, "role": "staff"} }'
    with store.database.read() as cursor:
        [(version,)] = cursor.execute("SELECT max(version) + 1 FROM events WHERE stream = 'order-1'")
    plant_event(store, "order-1", version, "StatusChanged", body)
    plant(store, "UPDATE orders SET status = 'shipped', version = ? WHERE order_id = 1", (version,))
    assert differences(store.database) == []
    rebuild(store.database, ORDERS, VIEWS)
    assert differences(store.database) == []


def test_a_missing_view_is_made_again_by_migrate_as_it_was_in_force(store: Store) -> None:
    fill(store, 5)
    rows = rows_of(store)
    rebuild(store.database, ORDERS, VIEWS)
    plant(store, "DROP TABLE orders")
    with pytest.raises(Exception, match="orders"):
        store.orders.detail(1, CUSTOMER)
    with pytest.raises(Exception, match="orders"):
        store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
    assert "A view is missing" in (Health(store.database).problem() or "")
    migrate(store.database)
    assert rows_of(store) == rows
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
    store.assert_sound()


@pytest.mark.parametrize(
    ("table", "problem"),
    [("events", "The log is not there"), ("rebuilds", "a former release's"), ("ledger_schema", "no ledger")],
)
def test_what_keeps_a_ledger_from_working(store: Store, table: str, problem: str) -> None:
    plant(store, f"DROP TABLE {table}")
    assert problem in (Health(store.database).problem() or "")


def test_a_view_that_is_not_in_force_yet_is_not_read(store: Store) -> None:
    plant(store, "DELETE FROM views WHERE name = 'payments'")
    plant(store, "UPDATE view_set SET generation = generation + 1")
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())  # written without it
    with pytest.raises(StorageUnavailable, match="payments"):
        store.payments.summary(1, STAFF)
    plant(store, "DROP TABLE payments")
    migrate(store.database)
    assert store.payments.summary(1, STAFF) is not None
    assert differences(store.database) == []


def test_json_lines_are_what_the_log_holds(store: Store) -> None:
    fill(store, 4)
    types = sorted(ORDERS.handlers)
    with store.database.bulk("looking") as bulk:
        rows = bulk.page(0, bulk.head(), types)
        lines = bulk.lines(0, bulk.head(), types).split("\n")
        assert bulk.lines(bulk.head(), bulk.head() + 9, types) == ""
    assert [json.loads(line) for line in lines] == [
        [type, stream, version, json.loads(body)] for _, stream, version, type, body in rows
    ]
