"""The commands on every storage: what they record, what a repeat answers, what a race leaves behind."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.actor import Actor, Cause, Role
from ledger.application import OrderLedger
from ledger.attempts import MAX_ATTEMPTS
from ledger.cart import CartItem
from ledger.catalogue import Catalogue, Product
from ledger.errors import (
    Busy,
    IdempotencyKeyReused,
    InvalidCart,
    MoveNotAllowed,
    MoveNotInTable,
    UnknownOrder,
    UnreadableEvent,
    VersionMismatch,
)
from ledger.leads import LeadMove
from ledger.outcomes import Outcome
from ledger.statuses import Status
from ledger.storage.reservations import Reservation
from projections.orders import page_query
from tests.support.storages import AUDITOR, CUSTOMER, OTHER, STAFF, Store

CART = [CartItem("1"), CartItem("1")]
KEYED = Cause(request_id="r", idempotency_key="key", request_hash="hash")


def place(store: Store, actor: Actor = CUSTOMER, cause: Cause | None = None) -> Outcome:
    return store.ledger.create_order(CART, actor=actor, cause=cause or Cause())


def head(store: Store) -> int:
    return store.recorder.max_notification_id() or 0


def test_a_created_order_is_read_back_at_once(store: Store) -> None:
    assert place(store) == Outcome(1, 1, Status.PENDING)
    document = store.orders.detail(1, CUSTOMER)
    assert document is not None
    assert (document.user_id, document.version) == (1, 1)
    order = json.loads(document.body)
    assert list(order) == ["id", "userId", "date", "products", "amountInCents", "clientSecret", "status"]
    assert order["products"] == [{"id": 1, "name": "Organic Cotton T-Shirt", "quantity": 2, "priceInCents": 1999}]
    assert order["date"] == "2026-01-01T00:00:01.000000Z"
    assert order["clientSecret"].startswith("pi_")
    assert (order["amountInCents"], order["status"]) == (3998, "pending")
    assert store.orders.as_created(1).body == document.body
    store.assert_sound()


def test_what_was_placed_is_rendered_as_it_is_read(store: Store) -> None:
    placed = place(store).placed
    assert placed is not None
    assert store.orders.placed(*placed) == store.orders.as_created(1) == store.orders.detail(1, CUSTOMER)


def test_a_repeat_is_answered_whatever_became_of_the_catalogue(store: Store) -> None:
    place(store, cause=KEYED)
    ports = store.ledger._ports
    dearer = Catalogue([Product(1, "TEE", "Dearer T-Shirt", 9999)])
    store.ledger._ports = type(ports)(**{**_fields(ports), "catalogue": dearer})
    again = store.ledger.create_order([CartItem(1, 2, 1999)], actor=CUSTOMER, cause=KEYED)
    assert again == Outcome(1, 1, Status.PENDING, replayed=True)
    assert again.placed is None


def test_the_client_secret_is_nowhere_in_the_log(store: Store) -> None:
    place(store)
    secret = json.loads(store.orders.as_created(1).body)["clientSecret"]
    assert all(secret not in str(event.state) for event in store.recorder.select_notifications(1, 100))


def test_a_refused_cart_records_nothing(store: Store) -> None:
    with pytest.raises(InvalidCart):
        store.ledger.create_order([CartItem("none")], actor=CUSTOMER, cause=KEYED)
    assert head(store) == 0
    assert place(store, cause=KEYED).order_id == 1


def test_only_users_place_orders_and_own_boards(store: Store) -> None:
    system = Actor(None, Role.PAYMENTS)
    with pytest.raises(MoveNotAllowed):
        place(store, system)
    with pytest.raises(MoveNotAllowed):
        store.ledger.arrange_leads([LeadMove(1, 2)], actor=system, cause=Cause())
    assert head(store) == 0


def test_a_repeat_answers_the_first_outcome(store: Store) -> None:
    first = place(store, cause=KEYED)
    store.ledger.change_status(1, Status.CANCELLED, actor=CUSTOMER, cause=Cause())
    assert place(store, cause=KEYED) == Outcome(first.order_id, 1, Status.PENDING, replayed=True)
    assert json.loads(store.orders.as_created(1).body)["status"] == "pending"
    assert head(store) == 2


def test_keys_are_per_user_and_per_body(store: Store) -> None:
    place(store, cause=KEYED)
    assert place(store, OTHER, KEYED).order_id == 2
    with pytest.raises(IdempotencyKeyReused):
        place(store, cause=Cause(idempotency_key="key", request_hash="other"))
    reused = Cause(idempotency_key="key", request_hash="status-update")
    with pytest.raises(IdempotencyKeyReused):
        store.ledger.change_status(1, Status.CANCELLED, actor=CUSTOMER, cause=reused)
    assert head(store) == 2


def test_a_repeated_move_answers_the_first_outcome(store: Store) -> None:
    place(store)
    moved = store.ledger.change_status(1, Status.AWAITING_PAYMENT, actor=STAFF, cause=KEYED)
    store.ledger.change_status(1, Status.CANCELLED, actor=STAFF, cause=Cause())
    again = store.ledger.change_status(1, Status.AWAITING_PAYMENT, actor=STAFF, cause=KEYED)
    assert again == Outcome(1, moved.version, Status.AWAITING_PAYMENT, replayed=True)
    store.assert_sound()


def test_a_key_that_recorded_nothing_stays_free(store: Store) -> None:
    place(store)
    with pytest.raises(MoveNotInTable):
        store.ledger.change_status(1, Status.SHIPPED, actor=STAFF, cause=KEYED)
    same = store.ledger.change_status(1, Status.PENDING, actor=CUSTOMER, cause=KEYED)
    assert same == Outcome(1, 1, Status.PENDING)
    assert not store.ledger.change_status(1, Status.CANCELLED, actor=CUSTOMER, cause=KEYED).replayed


def test_an_order_of_another_is_unknown(store: Store) -> None:
    place(store)
    for order_id in (1, 2):
        with pytest.raises(UnknownOrder):
            store.ledger.change_status(order_id, Status.PENDING, actor=OTHER, cause=Cause(), expected_version=9)


def test_a_stale_version_is_refused(store: Store) -> None:
    place(store)
    store.ledger.change_status(1, Status.AWAITING_PAYMENT, actor=STAFF, cause=Cause(), expected_version=1)
    with pytest.raises(VersionMismatch):
        store.ledger.change_status(1, Status.CANCELLED, actor=STAFF, cause=Cause(), expected_version=1)
    store.ledger.change_status(1, Status.CANCELLED, actor=AUDITOR_OWNER, cause=Cause(), expected_version=2)


AUDITOR_OWNER = Actor(1, Role.AUDITOR)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET body = 'x' WHERE version = 1",
        "UPDATE events SET body = '[]' WHERE version = 2",
        "UPDATE events SET body = replace(body, '\"declined\"', '\"mislaid\"') WHERE version = 2",
        "UPDATE events SET type = 'OrderMislaid' WHERE version = 2",
        "UPDATE events SET version = 3 WHERE version = 2",
        "DELETE FROM events WHERE version = 1",
    ],
)
def test_on_an_order_with_an_altered_event_nothing_is_done(store: Store, change: str) -> None:
    place(store)
    store.ledger.change_status(1, Status.DECLINED, actor=STAFF, cause=Cause())
    with store.database.write() as cursor:
        cursor.execute(change)
    with pytest.raises(UnreadableEvent, match="order-1"):
        store.ledger.change_status(1, Status.PENDING, actor=STAFF, cause=Cause())
    with pytest.raises(UnreadableEvent, match="order-1"):
        store.ledger.refund_order(1, None, actor=STAFF, cause=Cause())
    assert head(store) == 2


def test_the_history_tells_all(store: Store) -> None:
    place(store)
    store.ledger.arrange_leads([LeadMove(1, 2)], actor=CUSTOMER, cause=Cause())
    store.ledger.change_status(1, Status.DECLINED, actor=STAFF, cause=Cause(request_id="r2"))
    entries = store.ledger.history(1)
    assert [(entry.position, entry.version, entry.type) for entry in entries] == [
        (1, 1, "OrderCreated"),
        (3, 2, "StatusChanged"),
    ]
    body = json.loads(entries[1].body)
    assert body["timestamp"] == "2026-01-01T00:00:03.000000Z"
    assert body["cause"] == {"request_id": "r2"}
    with pytest.raises(UnknownOrder):
        store.ledger.history(2)


def test_pages_are_newest_first_and_meet_without_gaps(store: Store) -> None:
    for _ in range(5):
        place(store)
        place(store, OTHER)
    store.ledger.change_status(5, Status.CANCELLED, actor=CUSTOMER, cause=Cause())

    def ids(status: Status | None, limit: int) -> list[list[int]]:
        pages, before = [], None
        while True:
            page = store.orders.page(1, status=status, before=before, limit=limit)
            pages.append([order["id"] for order in json.loads(page.body)])
            before = page.next_cursor
            if before is None:
                return pages

    assert ids(None, 2) == [[9, 7], [5, 3], [1]]
    assert ids(None, 5) == [[9, 7, 5, 3, 1]]
    assert ids(Status.PENDING, 3) == [[9, 7, 3], [1]]
    assert ids(Status.CANCELLED, 1) == [[5]]
    assert ids(Status.SHIPPED, 1) == [[]]
    assert store.orders.detail(99, CUSTOMER) is None
    with pytest.raises(KeyError):
        store.orders.as_created(99)


@pytest.mark.parametrize("status", [None, Status.PENDING])
@pytest.mark.parametrize("analyzed", [False, True])
def test_a_page_is_read_from_the_index_that_has_it_in_order(
    store: Store, status: Status | None, analyzed: bool
) -> None:
    for number in range(60):
        place(store, OTHER if number > 30 else CUSTOMER)
    if analyzed:
        with store.database.write() as cursor:
            cursor.execute("ANALYZE")
    postgres = store.database.dialect == "postgres"
    query, parameters = page_query(store.database.dialect, 1, status, 20, 5)
    query = query.format(orders="orders")
    with store.database.read() as cursor:
        if postgres:  # in a ledger that is large enough, the planner would have processes share even one page
            assert cursor.execute("SELECT current_setting('max_parallel_workers_per_gather')") == [("0",)]
        rows = cursor.execute(f"EXPLAIN {'' if postgres else 'QUERY PLAN '}{query}", parameters)
    plan = "\n".join(str(row[-1]) for row in rows)
    assert ("orders_by_user_id_status_order_id" if status else "orders_by_user_id_order_id") in plan
    assert not any(word in plan for word in ("SCAN", "Seq Scan", "Sort", "TEMP B-TREE", "Filter"))


def test_boards_are_per_user_and_event_sourced(store: Store) -> None:
    assert [(s.id, s.name, s.place) for s in store.leads.board(1)] == [
        (1, "New", 1),
        (2, "Contacted", 2),
        (3, "Qualified", 3),
        (4, "Lost", 4),
    ]
    store.ledger.arrange_leads([LeadMove(4, 1)], actor=CUSTOMER, cause=Cause())
    answer = store.ledger.arrange_leads([LeadMove(4, 1)], actor=CUSTOMER, cause=Cause())
    assert answer == [LeadMove(4, 1)]
    store.ledger.arrange_leads([LeadMove(1, 1)], actor=CUSTOMER, cause=Cause())
    assert [status.id for status in store.leads.board(1)] == [1, 4, 2, 3]
    assert [status.id for status in store.leads.board(2)] == [1, 2, 3, 4]
    assert head(store) == 2
    store.assert_sound()


def test_concurrent_repeats_make_one_order(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda _: place(store, cause=KEYED), range(50)))
    assert len({outcome.order_id for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert head(store) == 1
    with store.database.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM payment_intents") == [(1,)]
    store.assert_sound()


def test_concurrent_moves_and_boards_lose_nothing(store: Store) -> None:
    place(store)

    def act(number: int) -> None:
        place(store, Actor(number % 3 + 1, Role.CUSTOMER))
        store.ledger.arrange_leads([LeadMove(number % 4 + 1, 1)], actor=CUSTOMER, cause=Cause())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(40)))
        moves = [Status.AWAITING_PAYMENT, Status.PAYMENT_FAILED, Status.AWAITING_PAYMENT, Status.DECLINED]
        list(pool.map(lambda status: _try_move(store.ledger, status), moves))
    assert json.loads(store.ledger.history(1)[-1].body)["status"] == "declined"
    store.assert_sound()


def _try_move(ledger: OrderLedger, status: Status) -> None:
    try:
        ledger.change_status(1, status, actor=STAFF, cause=Cause())
    except MoveNotInTable:
        assert ledger.history(1)[-1].type == "StatusChanged"


def test_a_race_that_is_never_won_ends(store: Store) -> None:
    attempts = 0

    def always_taken(_digest: str | None) -> Reservation:
        nonlocal attempts
        attempts += 1
        return Reservation(1, "order-1")

    place(store)
    ports = store.ledger._ports
    store.ledger._ports = type(ports)(**{**_fields(ports), "reserve_order": always_taken})
    with pytest.raises(Busy):
        place(store)
    assert attempts == MAX_ATTEMPTS
    assert head(store) == 1


def _fields(ports: object) -> dict[str, object]:
    return {name: getattr(ports, name) for name in ports.__dataclass_fields__}  # type: ignore[attr-defined]


def test_the_auditor_sees_every_order_but_not_how_to_pay_it(store: Store) -> None:
    place(store)
    seen, owned = store.orders.detail(1, AUDITOR), store.orders.detail(1, CUSTOMER)
    assert seen is not None
    assert owned is not None
    assert json.loads(seen.body) == json.loads(owned.body) | {"clientSecret": ""}
    assert store.orders.detail(1, OTHER) is None
    with pytest.raises(MoveNotAllowed):
        store.ledger.change_status(1, Status.CANCELLED, actor=AUDITOR, cause=Cause())
