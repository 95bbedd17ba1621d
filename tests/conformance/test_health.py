"""Health that can't lie: what is behind, ahead, overdue or dead is said, each in its own sentence."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.errors import NotProven, StorageUnavailable
from ledger.statuses import Status
from ledger.storage import Database, open_database
from projections.health import Health
from projections.migrate import migrate
from projections.rebuild import rebuild
from projections.search_follower import SearchFollower, begin_again
from projections.store import VIEWS
from projections.transparency import Follower, LogSizes, log_sizes
from projections.webhooks.endpoints import Endpoints
from projections.webhooks.queue import MOST_WAITING
from tests.support.busy import EVENTS, log_key, make_busy
from tests.support.storages import CUSTOMER, STAFF, Store

KEY = log_key()


def at(store: Store) -> datetime:
    """A moment right after the last event: the store's clock goes on with every look."""
    return store.ports.clock()


def health(store: Store, *, later: float = 0, signs: bool = True) -> Health:
    now = at(store) + timedelta(seconds=later)
    return Health(store.database, max_lag=timedelta(seconds=60), signs=signs, clock=lambda: now)


def told(found: Health) -> list[str]:
    return [symptom.what for symptom in found.symptoms()]


def follow(store: Store, *keys: object) -> None:
    follower = Follower(store.database, keys, KEY.name, clock=store.ports.clock)  # type: ignore[arg-type]
    search = SearchFollower(store.database)
    while follower.step() or search.step():
        pass


def plant(store: Store, statement: str) -> None:
    with store.database.write() as cursor:
        cursor.execute(statement)


def test_a_ledger_that_keeps_up_has_no_symptoms(store: Store) -> None:
    assert told(health(store)) == []
    make_busy(store)
    assert told(health(store)) == []  # its events have not waited long
    follow(store, KEY)
    assert told(health(store, later=1e6)) == []


def test_a_follower_that_is_behind_its_bound(store: Store) -> None:
    make_busy(store)
    late = told(health(store, later=1000))
    names = ["The transparency log", "The signed checkpoint", "The view of the search"]
    assert [line.partition(" is ")[0] for line in late] == names
    assert f"{EVENTS:,} events behind, the first of which has waited for 1,0" in late[0]

    follow(store)
    assert [line.partition(" is ")[0] for line in told(health(store, later=1000))] == ["The signed checkpoint"]
    assert told(health(store, later=1000, signs=False)) == []
    states = health(store, later=1000).followers()
    assert [(state.position, state.head) for state in states] == [(EVENTS, EVENTS), (0, EVENTS), (EVENTS, EVENTS)]
    assert states[0].behind == timedelta(0) < states[1].behind


@pytest.mark.parametrize("lost", [1, 2])
def test_a_log_that_was_cut_off_together_with_its_views(store: Store, lost: int) -> None:
    """As a failover leaves it, or whoever deletes events and rebuilds: only those who follow have seen more."""
    make_busy(store)
    follow(store, KEY)
    plant(store, f"DELETE FROM events WHERE position > {EVENTS - lost}")
    for view in VIEWS:
        rebuild(store.database, view, VIEWS)
    cut = f"has {EVENTS:,} events, and the log ends at {EVENTS - lost:,}: it was cut off at its end."
    names = ["The transparency log", "The signed checkpoint", "The view of the search"]
    assert told(health(store)) == [f"{name} {cut}" for name in names]
    assert [state.behind for state in health(store).followers()] == [timedelta(0)] * 3


def test_a_log_that_was_cut_off_and_has_grown_again(store: Store) -> None:
    """Its followers are not ahead any more, and have seen what nobody can prove."""
    make_busy(store)
    follow(store, KEY)
    plant(store, f"DELETE FROM events WHERE position > {EVENTS - 1}")
    for view in VIEWS:
        rebuild(store.database, view, VIEWS)
    for status in (Status.SHIPPED, Status.COMPLETED):
        store.ledger.change_status(3, status, actor=STAFF, cause=Cause())
    with pytest.raises(NotProven, match=f"The event at position {EVENTS} is not the one that was logged there"):
        follow(store, KEY)
    other = f"The transparency log has another event at {EVENTS:,} than the log: it was cut off there, or changed."
    assert told(health(store)) == [other]
    assert [state.astray for state in health(store).followers()] == [True, False, False]
    assert log_sizes(store.database).checkpoint == EVENTS


def test_a_tree_whose_last_event_was_changed_does_not_grow(store: Store) -> None:
    make_busy(store)
    follow(store, KEY)
    plant(store, f"UPDATE events SET body = replace(body, '2026', '2025') WHERE position = {EVENTS}")
    assert [state.astray for state in health(store).followers()] == [True, False, False]
    store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
    with pytest.raises(NotProven, match=f"The event at position {EVENTS} is not"):
        follow(store, KEY)


def test_followers_that_go_on_meanwhile_are_not_ahead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    make_busy(store)

    def and_then_more(database: Database) -> LogSizes:
        sizes = log_sizes(database)
        store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
        follow(store, KEY)
        return sizes

    monkeypatch.setattr("projections.health.log_sizes", and_then_more)
    assert told(health(store)) == []


def test_a_bound_is_a_matter_of_time_and_not_of_events(store: Store) -> None:
    make_busy(store)
    follow(store, KEY)
    store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
    assert told(health(store, later=30)) == []
    assert len(told(health(store, later=90))) == 3


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE orders SET version = version - 1 WHERE order_id = 3", "orders: row (3,): version"),
        ("DELETE FROM payments WHERE order_id = 3", "payments: row (3,) of the replay is missing"),
        ("UPDATE lead_boards SET arrangement = '4321'", "lead_boards: row"),
        ("DELETE FROM events WHERE position > 3", "orders: order 4 is served at version"),
    ],
)
def test_a_view_that_is_not_at_the_end_of_the_log(store: Store, statement: str, finding: str) -> None:
    make_busy(store)
    follow(store, KEY)
    store.ledger.change_status(3, Status.SHIPPED, actor=STAFF, cause=Cause())
    follow(store, KEY)
    plant(store, statement)
    symptoms = list(health(store).symptoms())
    assert any(finding in symptom.remedy for symptom in symptoms)
    assert not any("row (" in each.what or "served" in each.what for each in symptoms), "anybody may read that"
    view = finding.partition(":")[0]
    assert f"A view differs from the end of the log: {view}." in [each.what for each in symptoms]
    assert any(finding in str(each) for each in health(store).view_findings())


def test_a_schema_that_is_not_this_release_s_is_said_first_and_alone(store: Store) -> None:
    plant(store, "DROP TABLE log_attested")
    assert [line.partition(":")[0] for line in told(health(store))] == ["The schema is a former release's"]


ENDPOINT = """INSERT INTO webhook_endpoints
    (id, url, secret, former_secret, former_until, types, position, disabled, delivered, created_at)
    VALUES ('ep_0', '', '', '', '', '[', 0, '', 0, '')"""


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM followed", "UPDATE log_checkpoints SET signed_at = 'zzz'", ENDPOINT],
)
def test_of_what_no_release_has_written_it_is_said_that_it_can_not_be_read(store: Store, statement: str) -> None:
    make_busy(store)
    follow(store, KEY)
    plant(store, statement)
    looking = Health(store.database, signs=True)
    with pytest.raises(StorageUnavailable, match="holds what can't be read"):
        looking.standing()
    if "followed" in statement:
        looking.watch(SimpleNamespace(name="The view", is_alive=lambda: True, stands=True))
        assert told(looking) == ["The view stands still.", "The database holds what can't be read."]


def test_a_body_without_a_time_has_waited_for_nobody_knows_how_long(store: Store) -> None:
    plant(store, "INSERT INTO events VALUES (1, 's-1', 1, 'Unrelated', '{}')")
    assert told(health(store, later=1e6)) == []
    for moment in ("nonsense", "2026-06-01T00:00:00"):
        plant(store, f"""UPDATE events SET body = '{{"timestamp":"{moment}"}}'""")
        assert told(health(store, later=1e6)) == []
    assert health(store).followers()[0].position == 0


def test_it_is_the_first_event_that_is_lacking_whose_waiting_counts(store: Store) -> None:
    """Of those that say when they were recorded: not one that was taken in, and not one that does not say."""
    make_busy(store)
    follow(store, KEY)
    for number, body in enumerate(("{}", '{"timestamp":"2026-06-01T00:00:00.000000Z"}'), 1):
        plant(store, f"INSERT INTO events VALUES ({EVENTS + number}, 's-1', {number}, 'Unrelated', '{body}')")
    now = datetime(2026, 6, 1, 0, 0, 5, tzinfo=UTC)
    states = Health(store.database, signs=True, clock=lambda: now).followers()
    assert [state.behind for state in states] == [timedelta(seconds=5)] * 3


def test_a_follower_that_stands_before_a_gap_is_behind(store: Store) -> None:
    make_busy(store)
    follow(store, KEY)
    store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
    store.ledger.change_status(3, Status.SHIPPED, actor=STAFF, cause=Cause())
    plant(store, f"DELETE FROM events WHERE position = {EVENTS + 1}")
    late = told(health(store, later=1000))
    assert "The transparency log is 2 events behind, the first of which has waited for 1,0" in late[0]


def test_looking_takes_one_connection_at_a_time(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=1, timeout=0.5)
    try:
        migrate(database)
        assert Health(database).standing().sizes.head == 0
        assert told(Health(database, signs=True)) == []
    finally:
        database.close()


def test_the_clocks_of_servers_differ(store: Store) -> None:
    make_busy(store)
    early = Health(store.database, signs=True, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC))
    assert [state.behind for state in early.followers()] == [timedelta(0)] * 3


def test_how_a_ledger_stands(store: Store) -> None:
    empty = health(store).standing()
    assert (empty.sizes, empty.checkpoint_age, empty.rebuilds) == (LogSizes(0, 0, 0), None, {})
    make_busy(store)
    follow(store, KEY)
    store.ledger.change_status(4, Status.CANCELLED, actor=STAFF, cause=Cause())
    follow(store, KEY)
    store.ledger.change_status(3, Status.SHIPPED, actor=STAFF, cause=Cause())
    with store.database.write() as cursor:
        for role, position in (("next", 7), ("old", 5)):
            row = ("orders", role, f"orders_{role}", position)
            cursor.execute("INSERT INTO rebuilds VALUES (?, ?, ?, 1, ?, 0)", row)

    standing = health(store, later=1000).standing()
    sizes = standing.sizes
    assert (sizes.head, sizes.tree, sizes.checkpoint) == (EVENTS + 2, EVENTS + 1, EVENTS + 1)
    assert standing.rebuilds == {"orders": 7}
    with store.database.read() as cursor:
        signed = sorted(row[0] for row in cursor.execute("SELECT signed_at FROM log_checkpoints"))
    assert len(signed) > 1
    found = Health(store.database, clock=lambda: datetime.fromisoformat(signed[-1]) + timedelta(seconds=9))
    assert found.standing().checkpoint_age == timedelta(seconds=9)
    assert health(store, later=-1000).standing().checkpoint_age == timedelta(0)
    assert [(state.slug, state.position, state.head) for state in standing.followers] == [
        (slug, EVENTS + 1, EVENTS + 2) for slug in ("transparency-log", "checkpoints", "order-search")
    ]


def test_a_database_that_takes_no_writes(postgres_url: str) -> None:
    """As a standby is, which a name may lead to after a failover."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        with closing(open_database(postgres_url)) as database:
            migrate(database)
            assert told(Health(database)) == []
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET default_transaction_read_only = on'.encode())
        with closing(open_database(postgres_url)) as database:
            assert told(Health(database)) == ["The database takes no writes."]


def test_a_stream_that_is_long_is_not_replayed_for_those_who_ask(store: Store) -> None:
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
    plant(store, "UPDATE orders SET version = 7")
    assert told(health(store)) != []
    plant(store, "UPDATE events SET version = 201")
    assert told(health(store)) == []


def test_a_view_of_the_search_that_is_made_again_has_nothing(store: Store) -> None:
    make_busy(store)
    follow(store, KEY)
    begin_again(store.database)
    found = health(store, later=1000)
    assert [(state.position, state.begun) for state in found.followers()][1:] == [(EVENTS, False), (0, True)]
    assert found.standing().rebuilds == {"order_search": 0}


def test_a_view_of_the_search_that_is_being_made_keeps_nobody_from_serving(store: Store) -> None:
    make_busy(store)
    follow(store, KEY)
    begin_again(store.database)
    store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
    Follower(store.database, [KEY], KEY.name, clock=store.ports.clock).step()
    assert told(health(store, later=1000)) == []

    search = SearchFollower(store.database, batch=1)
    while health(store).standing().rebuilds:
        search.step()
    # What has come since is waited for as ever.
    [late] = told(health(store, later=1000))
    assert late.startswith("The view of the search is 1 events behind")


def test_webhooks_that_nobody_queues_and_that_were_of_a_longer_log(store: Store) -> None:
    endpoints = Endpoints(store.database, private=True, resolver=lambda *_: ["127.0.0.1"])
    late, cut = (endpoints.register(f"http://{name}.example/")[0].id for name in ("late", "cut"))
    make_busy(store)
    follow(store, KEY)
    plant(store, f"UPDATE webhook_endpoints SET position = {EVENTS + 1} WHERE id = '{cut}'")
    found = {each.what.partition(" ")[0]: each.what for each in health(store, later=1000).complaints()}
    assert found.keys() == {late, cut}
    assert found[cut] == f"{cut} was told by webhook of {EVENTS + 1:,} events, and the log ends at {EVENTS:,}."
    assert found[late].startswith(f"{late} has not been told of the next event for 1,0")
    assert [each.what.partition(" ")[0] for each in health(store).complaints()] == [cut]
    assert told(health(store, later=1e6)) == []


def test_webhooks_that_fail_for_hours_and_a_queue_that_is_full(store: Store) -> None:
    endpoints = Endpoints(store.database, private=True, resolver=lambda *_: ["127.0.0.1"])
    fails, full = (endpoints.register(f"http://{name}.example/")[0].id for name in ("fails", "full"))
    make_busy(store)
    follow(store, KEY)
    with store.database.write() as cursor:
        cursor.execute("UPDATE webhook_endpoints SET position = ?", (EVENTS,))
        rows = [(fails, 2, "it answered 500"), *((full, -number, "") for number in range(MOST_WAITING))]
        cursor.executemany("INSERT INTO webhook_deliveries VALUES (?, ?, 'order-1', 1, '', 0, ?)", rows)

    assert [each.what for each in health(store, later=3600).complaints()] == [
        f"10,000 webhooks to {full} wait, and the rest of the log for them."
    ]
    found = {each.what: each.remedy for each in health(store, later=3 * 3600).complaints()}
    assert found.pop(f"Webhooks to {fails} fail; the first has waited for 3 hours.").endswith("it answered 500.")
    assert len(found) == 1


def test_those_who_are_told_have_complaints_and_the_ledger_no_symptoms(store: Store) -> None:
    endpoints = Endpoints(store.database, private=True, resolver=lambda *_: ["127.0.0.1"])
    well, gone, late = (endpoints.register(f"http://{name}.example/")[0].id for name in ("well", "gone", "late"))
    assert list(health(store).complaints()) == []
    with store.database.write() as cursor:
        cursor.execute("UPDATE webhook_endpoints SET disabled = 'it answered 410 Gone' WHERE id = ?", (gone,))
        rows = [(late, 1, 1), (late, 2, 1), (late, 3, 0), (well, 3, 0)]
        cursor.executemany("INSERT INTO webhook_deliveries VALUES (?, ?, 'order-1', 10, '', ?, 'x')", rows)

    found = {each.what: each.remedy for each in health(store).complaints()}
    assert set(found) == {
        f"Webhook endpoint {gone} is disabled: it answered 410 Gone.",
        f"2 webhooks to {late} were given up.",
    }
    assert f"webhooks enable {gone}`" in found[f"Webhook endpoint {gone} is disabled: it answered 410 Gone."]
    assert f"webhooks dead {late}`" in found[f"2 webhooks to {late} were given up."]
    assert told(health(store)) == []
