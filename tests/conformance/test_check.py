"""The check on every storage: what is planted is found and named, and nothing else is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from threading import Event, Thread

import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.catalogue import Catalogue
from ledger.errors import LedgerError
from ledger.leads import LeadMove
from projections.check import check, differences
from projections.rebuild import rebuild
from projections.sample import check_sample
from projections.store import VIEWS
from scripts.check import told
from scripts.sowing import Sower
from tests.support.storages import CUSTOMER, Store, opened_store

ORDERS = 400


@pytest.fixture
def seeded(store: Store) -> Store:
    """A ledger with some hundred orders in all stages, and a lead board."""
    list(sower(store).sow(ORDERS))
    store.ledger.arrange_leads([LeadMove(1, 4)], actor=CUSTOMER, cause=Cause())
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause(idempotency_key="k", request_hash="h"))
    return store


def sower(store: Store, seed: int = 1) -> Sower:
    return Sower(
        ledger=store.ledger,
        database=store.database,
        catalogue=Catalogue.load(None),
        currency="usd",
        rng=random.Random(seed),
        users=10,
    )


def plant(store: Store, *statements: str) -> None:
    with store.database.write() as cursor:
        for statement in statements:
            cursor.execute(statement)


def head(store: Store) -> int:
    with store.database.read() as cursor:
        return int(cursor.execute("SELECT max(position) FROM events")[0][0])


def status_of(store: Store, order_id: int) -> tuple[str, int]:
    with store.database.read() as cursor:
        [(status, version)] = cursor.execute("SELECT status, version FROM orders WHERE order_id = ?", (order_id,))
    return status, version


def sampled(store: Store, count: int, seed: int = 1) -> list[str]:
    counted: list[int] = []
    found = check_sample(store.database, count, random.Random(seed), tell=counted.append)
    lines = [str(finding) for finding in found]
    assert sum(counted) <= count
    return lines


def test_a_sound_ledger_has_nothing_to_show(seeded: Store) -> None:
    replayed: list[int] = []
    assert list(check(seeded.database, tell=replayed.append)) == []
    assert sum(replayed) == head(seeded)
    assert sampled(seeded, 10_000) == []


def test_an_empty_ledger_is_sound(store: Store) -> None:
    assert differences(store.database) == []
    assert sampled(store, 5) == []


def test_it_leaves_nothing_behind(seeded: Store) -> None:
    """Twice, as a temporary table that were still there would be in the way."""
    assert [differences(seeded.database) for _ in range(2)] == [[], []]


def test_a_row_that_was_changed_is_told_with_both_values(seeded: Store) -> None:
    status, version = status_of(seeded, 3)
    plant(seeded, "UPDATE orders SET status = 'lost', version = 77 WHERE order_id = 3")
    assert differences(seeded.database) == [f"orders: row (3,): status 'lost' -> '{status}', version 77 -> {version}"]


def test_of_a_long_text_the_part_that_differs_is_shown(seeded: Store) -> None:
    plant(seeded, "UPDATE orders SET document = replace(document, 'amountInCents', 'amountInEuros') WHERE order_id = 3")
    (line,) = differences(seeded.database)
    assert line.startswith("orders: row (3,): document ...")
    assert "amountInEuros" in line
    assert "-> ..." in line
    assert "amountInCents" in line
    assert len(line) < 250


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM orders WHERE order_id = 9", "orders: row (9,) of the replay is missing"),
        (
            "INSERT INTO orders SELECT 100000, user_id, status, version, document FROM orders WHERE order_id = 9",
            "orders: row (100000,) is not in the replay",
        ),
        (
            "INSERT INTO idempotency SELECT source, 'new', '', order_id, version, status FROM idempotency LIMIT 1",
            "idempotency: row ('stripe', 'new') is not in the replay",
        ),
        (
            "UPDATE lead_boards SET arrangement = '[1, 2, 3, 4]'",
            "lead_boards: row (1,): arrangement '[1, 2, 3, 4]' -> '[2, 3, 4, 1]'",
        ),
        ("UPDATE payment_intents SET currency = 'eur' WHERE order_id = 5", "payment_intents: row (5,): currency 'eur'"),
        ("DELETE FROM payment_intents WHERE order_id = 5", "payment_intents: row (5,) of the replay is missing"),
        (
            "INSERT INTO payment_intents VALUES (100000, 'pi', 's', 1, 'usd')",
            "payment_intents: row (100000,) is not in the replay",
        ),
        (
            "INSERT INTO rebuilds VALUES ('orders', 'old', 'orders_old', 1, 100000, 0)",
            "log: the former table of orders is at position 100000, but the log ends at {head}",
        ),
        (
            "INSERT INTO rebuilds VALUES ('orders', 'next', 'orders_next', 1, 100000, 0)",
            "log: the table being made of orders is at position 100000, but the log ends at {head}",
        ),
    ],
)
def test_what_is_planted_is_all_that_is_found(seeded: Store, statement: str, finding: str) -> None:
    plant(seeded, statement)
    (line,) = differences(seeded.database)
    assert line.startswith(finding.format(head=head(seeded)))


def test_a_gap_in_the_positions_is_found_where_it_is(seeded: Store) -> None:
    plant(seeded, "UPDATE events SET position = position + 100000 WHERE position > 500")
    assert differences(seeded.database) == ["log: position 501 is missing before 100501"]


def test_a_log_that_has_lost_its_end_is_behind_its_views(seeded: Store) -> None:
    """As after a failover to a server that did not have the last transactions."""
    last = head(seeded)
    with seeded.database.read() as cursor:
        streams = cursor.execute("SELECT stream FROM events WHERE position = ?", (last,))
    plant(seeded, f"DELETE FROM events WHERE position = {last}")
    assert streams == [(f"order-{ORDERS + 1}",)]
    assert differences(seeded.database) == [
        f"orders: row ({ORDERS + 1},) is not in the replay",
        "idempotency: row ('user-1', 'k') is not in the replay",
        f"payment_intents: row ({ORDERS + 1},) is not in the replay",
    ]


def test_a_version_that_a_stream_skips_is_found(seeded: Store) -> None:
    plant(seeded, f"UPDATE events SET version = 9 WHERE stream = 'order-{ORDERS + 1}'")
    found = differences(seeded.database)
    assert f"log: order-{ORDERS + 1} jumps to version 9 at position {head(seeded)}" in found
    assert any("jumps" in line or "version 9" in line for line in sampled(seeded, 10_000))


def test_versions_that_are_not_in_the_order_of_positions_are_found(seeded: Store) -> None:
    with seeded.database.read() as cursor:
        [(stream, one), (_, two)] = cursor.execute(
            "SELECT stream, position FROM events WHERE stream = (SELECT min(stream) FROM events WHERE version = 2)"
            " AND version < 3 ORDER BY version"
        )
    swap = "UPDATE events SET position = {} WHERE position = {}"
    plant(seeded, swap.format(-1, one), swap.format(one, two), swap.format(two, -1))
    assert f"log: {stream} version 2 at position {one} is before {two}" in differences(seeded.database)


def test_a_type_that_no_release_knows_is_found_once(seeded: Store) -> None:
    last = head(seeded)
    for number in (1, 2):
        plant(
            seeded,
            f"INSERT INTO events (position, stream, version, type, body)"
            f" VALUES ({last + number}, 'x', {number}, 'Surprise', 'no JSON')",
        )
    assert differences(seeded.database) == [f"log: 2 of the unknown type 'Surprise', the first at position {last + 1}"]


@pytest.mark.parametrize("page", [100, 10_000])
def test_an_event_that_cannot_be_read_is_named_and_the_rest_is_compared_all_the_same(seeded: Store, page: int) -> None:
    with seeded.database.read() as cursor:
        [(position,)] = cursor.execute("SELECT position FROM events WHERE stream = 'order-300' AND version = 1")
    plant(
        seeded,
        f"UPDATE events SET body = 'x' WHERE position = {position}",
        "UPDATE orders SET user_id = 99 WHERE order_id = 350",
    )
    found = [str(finding) for finding in check(seeded.database, page=page)]
    poison = f"orders: position {position} (OrderCreated, order-300 version 1) can't be replayed: "
    assert sum(line.startswith(poison) for line in found) == 1
    assert "orders: row (300,) is not in the replay" in found
    assert "payment_intents: row (300,) is not in the replay" in found
    assert any(line.startswith("orders: row (350,): user_id 99 -> ") for line in found)
    assert {line.partition(":")[0] for line in found} == {"orders", "idempotency", "payment_intents"} | (
        {"payments"} if any(line.startswith("payments") for line in found) else set()
    )


@pytest.mark.parametrize("page", [100, 10_000])
def test_a_row_made_twice_is_the_second_events_fault(seeded: Store, page: int) -> None:
    last = head(seeded)
    plant(
        seeded,
        "INSERT INTO events (position, stream, version, type, body)"
        f" SELECT {last + 1}, 'order-1', 1000, type, body FROM events WHERE stream = 'order-1' AND version = 1",
    )
    found = [str(finding) for finding in check(seeded.database, page=page)]
    assert f"log: order-1 jumps to version 1000 at position {last + 1}" in found
    poison = f"position {last + 1} (OrderCreated, order-1 version 1000) can't be replayed: it makes row"
    assert [line for line in found if poison in line] == [
        f"{view}: {poison} (1,) a second time" for view in ("orders", "payment_intents")
    ]
    assert len(found) == 3


def test_one_view_alone(seeded: Store) -> None:
    plant(
        seeded,
        "DELETE FROM orders WHERE order_id = 9",
        "DELETE FROM lead_boards",
        "UPDATE events SET position = position + 100000 WHERE position > 500",
    )
    found = [str(finding) for finding in check(seeded.database, only="lead_boards")]
    assert found == ["lead_boards: row (1,) of the replay is missing"]
    with pytest.raises(LedgerError, match="There is no view cats; there are orders, idempotency, payments, lead_boa"):
        list(check(seeded.database, only="cats"))


def test_of_one_kind_twenty_are_shown_and_the_rest_counted(seeded: Store) -> None:
    plant(seeded, "UPDATE orders SET user_id = 99", "DELETE FROM payment_intents WHERE order_id = 7")
    lines = list(told(check(seeded.database)))
    assert sum(line.startswith("orders: row") for line in lines) == 20
    assert lines[-2:] == [
        "payment_intents: row (7,) of the replay is missing",
        f"orders: and {ORDERS + 1 - 20} more (changed)",
    ]
    assert len(lines) == 22


def test_a_sample_finds_what_is_wrong_with_its_streams(seeded: Store) -> None:
    plant(
        seeded,
        "UPDATE orders SET user_id = 99 WHERE order_id = 9",
        "DELETE FROM idempotency WHERE source = 'user-1'",
        "UPDATE payment_intents SET amount = 0 WHERE order_id = 11",
    )
    found = sampled(seeded, 10_000)
    assert [line.partition(":")[0] for line in sorted(found)] == ["idempotency", "orders", "payment_intents"]
    assert any(line.startswith("orders: row (9,): user_id 99 -> ") for line in found)


def test_the_same_seed_draws_the_same_sample_of_the_size_asked_for(seeded: Store) -> None:
    plant(seeded, "UPDATE orders SET user_id = 99")

    def drawn(seed: int) -> list[str]:
        return sampled(seeded, 150, seed)

    assert len(drawn(1)) in {149, 150}  # one of them may be the lead board
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.fixture
def busy(database_url: str) -> Iterator[None]:
    """Somebody places orders and moves them, through a ledger of their own, as long as the test takes."""
    ended = Event()

    def work() -> None:
        with opened_store(database_url) as store:
            for seed in count(2):
                for _ in sower(store, seed).sow(200):
                    if ended.is_set():
                        return

    worker = Thread(target=work)
    worker.start()
    yield
    ended.set()
    worker.join()


@pytest.mark.slow
@pytest.mark.usefixtures("busy")
def test_others_who_write_meanwhile_are_neither_seen_nor_stopped(database_url: str) -> None:
    heads: set[int | None] = set()
    with opened_store(database_url) as store:
        while len(heads) < 5:
            heads.add(store.recorder.max_notification_id())
            assert differences(store.database) == []
            assert sampled(store, 20) == []


def test_a_rebuild_that_swaps_tables_meanwhile_changes_nothing(database_url: str) -> None:
    rebuilt: list[str] = []

    def rebuild_all() -> None:
        with opened_store(database_url) as store:
            rebuilt.extend(rebuild(store.database, view, VIEWS).view for view in VIEWS)

    with opened_store(database_url) as store:
        list(sower(store).sow(ORDERS))
        rebuilder = Thread(target=rebuild_all)
        rebuilder.start()
        while rebuilder.is_alive():
            assert differences(store.database) == []
            rebuilder.join(0.3)  # a swap waits for the check, and gets its turn between two of them
    assert rebuilt == [view.name for view in VIEWS]
