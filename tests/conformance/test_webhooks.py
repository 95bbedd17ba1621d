"""Webhooks on every storage: what is told, to whom, in which order, how often, and what becomes of what fails."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from logging import WARNING
from threading import Barrier, Event, Semaphore
from typing import Any, cast

import pytest
from standardwebhooks import Webhook

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.errors import InvalidEndpoint, StorageUnavailable, UnknownEndpoint
from ledger.events import StatusChanged
from ledger.statuses import Status
from ledger.storage import Database
from ledger.storage.identity import LedgerId
from projections.webhooks import endpoints as registry
from projections.webhooks.deliverer import AT_ONCE, EACH, Deliverer
from projections.webhooks.endpoints import ROTATION, Endpoint, Endpoints
from projections.webhooks.payloads import TYPES
from projections.webhooks.queue import DUE, LEASE, SCHEDULE, Delivery, Queue
from projections.webhooks.sending import Answer
from tests.support.busy import make_busy
from tests.support.storages import CUSTOMER, STAFF, Store

URL = "https://shop.example/hooks"
OTHER = "https://other.example/hooks"
OK, FAILS, GONE = Answer(204), Answer(500), Answer(410)


@dataclass
class Receiver:
    """Takes the place of the network; ``answer`` is by URL and body."""

    answer: Callable[[str, dict[str, object]], Answer] = lambda *_: OK
    sent: list[tuple[str, Mapping[str, str], str]] = field(default_factory=list)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append((url, headers, body.decode()))
        data: dict[str, object] = json.loads(body)["data"]
        return self.answer(url, data)

    @property
    def positions(self) -> list[int]:
        return [json.loads(body)["data"]["position"] for _, _, body in self.sent]


class Bench:
    """A ledger with its registry, a deliverer, and a clock that is set by hand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = datetime.now(UTC)
        self.receiver = Receiver()
        self.endpoints = Endpoints(
            store.database, private=False, resolver=lambda *_: ["93.184.216.34"], clock=lambda: self.now
        )
        self.deliverer = self.another()

    def another(self, reached: Callable[[str], None] = lambda _: None) -> Deliverer:
        return Deliverer(
            self.store.database, self.receiver.send, clock=lambda: self.now, jitter=lambda: 0.0, reached=reached
        )

    def order(self) -> int:
        return self.store.ledger.create_order([CartItem("1", 1)], actor=CUSTOMER, cause=Cause()).order_id

    def move(self, order_id: int, status: str) -> None:
        self.store.ledger.change_status(order_id, Status(status), actor=STAFF, cause=Cause())

    def deliver(self) -> None:
        while self.deliverer.step():
            pass

    def after(self, pause: timedelta) -> None:
        self.now += pause
        self.deliver()

    def only(self) -> Endpoint:
        [endpoint] = self.endpoints.all()
        return endpoint


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def test_an_order_is_told_from_beginning_to_end_and_nothing_twice(bench: Bench) -> None:
    earlier = bench.order()
    _, secret = bench.endpoints.register(URL)
    order_id = bench.order()
    bench.move(order_id, "cancelled")
    bench.deliver()
    bench.deliver()

    told = [json.loads(body) for _, _, body in bench.receiver.sent]
    assert [(each["type"], each["data"]["orderId"], each["data"]["version"]) for each in told] == [
        ("order.created", order_id, 1),
        ("order.status_changed", order_id, 2),
    ]
    assert told[0]["data"]["userId"] == CUSTOMER.user
    assert told[0]["data"]["status"] == "pending"
    assert (told[1]["data"]["previous"], told[1]["data"]["status"]) == ("pending", "cancelled")
    assert earlier not in [each["data"]["orderId"] for each in told]
    for url, headers, body in bench.receiver.sent:
        assert url == URL
        assert Webhook(secret).verify(body, dict(headers)) == json.loads(body)
    assert len({headers["webhook-id"] for _, headers, _ in bench.receiver.sent}) == 2
    endpoint = bench.only()
    assert (endpoint.delivered, endpoint.waiting, endpoint.dead) == (2, 0, 0)
    bench.store.assert_sound()


def test_who_asks_for_it_is_told_of_what_was(bench: Bench) -> None:
    first, second = bench.order(), bench.order()
    bench.move(first, "cancelled")
    bench.endpoints.register(URL, ["order.created"], after=0)
    bench.deliver()

    assert {json.loads(body)["data"]["orderId"] for _, _, body in bench.receiver.sent} == {first, second}
    assert len(bench.receiver.sent) == 2
    assert bench.only().position == 3


def test_what_fails_is_tried_again_for_three_days_and_then_given_up(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: FAILS
    bench.order()
    bench.deliver()
    for attempt, pause in enumerate(SCHEDULE, 1):
        assert len(bench.receiver.sent) == attempt
        bench.after(pause - timedelta(seconds=1))
        assert len(bench.receiver.sent) == attempt, "too early"
        bench.after(timedelta(seconds=1))
    assert sum(SCHEDULE, timedelta()) >= timedelta(days=3)
    assert len({headers["webhook-id"] for _, headers, _ in bench.receiver.sent}) == 1
    endpoint = bench.only()
    assert (endpoint.waiting, endpoint.dead) == (0, 1)
    [letter] = bench.endpoints.dead(endpoint.id)
    assert (letter.position, letter.error) == (1, "it answered 500")
    assert bench.endpoints.dead(endpoint.id, after=1) == []

    bench.after(timedelta(days=30))
    assert len(bench.receiver.sent) == len(SCHEDULE) + 1
    bench.receiver.answer = lambda *_: OK
    assert bench.endpoints.replay(endpoint.id) == 1
    assert (bench.only().waiting, bench.only().failing) == (1, 0)
    bench.deliver()
    assert len(bench.receiver.sent) == len(SCHEDULE) + 2
    endpoint = bench.only()
    assert (endpoint.delivered, endpoint.waiting, endpoint.dead) == (1, 0, 0)


def test_an_order_waits_for_its_first_event_and_others_do_not(bench: Bench) -> None:
    bench.endpoints.register(URL)
    stuck, other = bench.order(), bench.order()
    bench.move(stuck, "cancelled")
    bench.move(other, "cancelled")
    bench.receiver.answer = lambda _, data: FAILS if data["orderId"] == stuck else OK
    bench.deliver()

    assert sorted(bench.receiver.positions) == [1, 2, 4]
    with bench.store.database.read() as cursor:
        waiting = cursor.execute("SELECT position, next_at FROM webhook_deliveries ORDER BY position")
    assert [row[0] for row in waiting] == [1, 3]
    assert waiting[0][1] == waiting[1][1], "what waits behind another is looked at again and again"
    assert (bench.only().waiting, bench.only().failing, bench.only().dead) == (2, 1, 0)
    bench.receiver.answer = lambda *_: OK
    bench.after(SCHEDULE[0])
    assert bench.receiver.positions[3:] == [1, 3]


def test_what_was_given_up_does_not_hold_up_its_order(bench: Bench) -> None:
    bench.endpoints.register(URL)
    order_id = bench.order()
    bench.receiver.answer = lambda _, data: FAILS if data["version"] == 1 else OK
    bench.deliver()
    bench.move(order_id, "cancelled")
    for pause in SCHEDULE:
        assert 2 not in bench.receiver.positions
        bench.after(pause)
    assert bench.receiver.positions[-1] == 2


def test_who_is_gone_is_left_alone_until_somebody_enables_it(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: GONE
    order_id = bench.order()
    bench.deliver()
    bench.move(order_id, "cancelled")
    bench.after(timedelta(days=30))

    assert len(bench.receiver.sent) == 1
    assert bench.only().disabled == "it answered 410 Gone"
    bench.receiver.answer = lambda *_: FAILS
    bench.endpoints.enable(endpoint.id)
    bench.deliver()
    assert bench.receiver.positions == [1, 1]
    bench.receiver.answer = lambda *_: OK
    bench.after(SCHEDULE[0])  # the first pause: it has lost no attempt by being gone
    assert bench.receiver.positions == [1, 1, 1, 2]
    assert (bench.only().disabled, bench.only().dead) == ("", 0)


def test_that_it_is_gone_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.endpoints.register(URL)
    together = Barrier(2)
    bench.receiver.answer = lambda *_: GONE if together.wait(30) >= 0 else OK
    bench.order()
    bench.order()
    bench.deliver()
    assert sorted(bench.receiver.positions) == [1, 2]
    assert [record.message for record in caplog.records if "disabled" in record.message] == [
        f"webhook endpoint {bench.only().id} is disabled: it answered 410"
    ]
    assert (bench.only().waiting, bench.only().failing) == (2, 0)


def test_a_new_secret_signs_beside_the_former_for_a_day(bench: Bench) -> None:
    endpoint, former = bench.endpoints.register(URL)
    secret = bench.endpoints.rotate(endpoint.id)
    bench.order()
    bench.deliver()
    bench.now += ROTATION
    bench.order()
    bench.deliver()

    (_, both, first), (_, alone, second) = bench.receiver.sent
    assert [len(headers["webhook-signature"].split()) for headers in (both, alone)] == [2, 1]
    Webhook(secret).verify(first, dict(both))
    Webhook(former).verify(first, dict(both))
    moment = datetime.fromtimestamp(int(alone["webhook-timestamp"]), UTC)
    assert Webhook(secret).sign(alone["webhook-id"], moment, second) == alone["webhook-signature"]


def test_who_dies_while_sending_delays_and_loses_nothing(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.order()

    def die(where: str) -> None:
        if where == "claimed":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        bench.another(die).step()
    bench.deliver()
    assert bench.receiver.sent == [], "it may still be sending"
    bench.after(LEASE)
    assert bench.receiver.positions == [1]


def test_two_who_deliver_do_not_tell_twice(bench: Bench) -> None:
    bench.endpoints.register(URL)
    for _ in range(3 * EACH):
        bench.order()
    other = bench.another()
    while bench.deliverer.step() | other.step():
        pass
    assert sorted(bench.receiver.positions) == list(range(1, 3 * EACH + 1))


def test_who_was_held_up_leaves_it_to_others(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.order()

    def hold_up(where: str) -> None:
        if where == "claimed":
            bench.now += LEASE

    late = bench.another(hold_up)
    late.step()
    late.close()
    assert bench.receiver.sent == []
    bench.deliver()
    assert bench.receiver.positions == [1]


def test_a_slow_endpoint_leaves_room_for_another(bench: Bench) -> None:
    slow, quick = "https://slow.example/", "https://quick.example/"
    bench.endpoints.register(slow)
    bench.endpoints.register(quick)
    for _ in range(30):
        bench.order()
    left, all_told = Counter({quick: 30}), Event()

    def answer(url: str, _: dict[str, object]) -> Answer:
        left[url] -= 1
        if left[quick] == 0:
            all_told.set()
        return OK if url == quick or all_told.wait(30) else FAILS

    bench.receiver.answer = answer
    bench.deliver()
    assert [endpoint.delivered for endpoint in bench.endpoints.all()] == [30, 30]
    assert len(bench.receiver.sent) == 60


def test_the_queue_of_one_endpoint_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.webhooks.queue.MOST_WAITING", 3)
    monkeypatch.setattr("projections.webhooks.queue.BATCH", 2)
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: FAILS
    for _ in range(6):
        bench.order()
    bench.deliver()
    assert (bench.only().waiting, bench.only().position) == (3, 3), "it ends with a part of a batch"
    bench.receiver.answer = lambda *_: OK
    bench.after(SCHEDULE[0])
    assert sorted(set(bench.receiver.positions)) == [1, 2, 3, 4, 5, 6]


def test_the_queue_of_one_endpoint_bounds_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.webhooks.queue.MOST_WAITING", 2)
    bench.endpoints.register(URL)
    bench.endpoints.register(OTHER)
    bench.receiver.answer = lambda url, _: FAILS if url == URL else OK
    for _ in range(4):
        bench.order()
    bench.deliver()
    assert {each.url: (each.position, each.waiting) for each in bench.endpoints.all()} == {URL: (2, 2), OTHER: (4, 0)}


def test_what_is_dead_leaves_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.webhooks.queue.MOST_WAITING", 1)
    endpoint, _ = bench.endpoints.register(URL)
    for _ in range(2):
        bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("INSERT INTO webhook_deliveries VALUES (?, 0, 'order-0', 10, '', 1, 'x')", (endpoint.id,))
    bench.deliver()
    assert bench.receiver.positions == [1, 2]


DEEP = '{"timestamp":' + "[" * 100_000 + "]" * 100_000 + "}"
NO_AMOUNT = '{"timestamp":"x","user_id":1,"amount_in_cents":NaN,"currency":"usd"}'


@pytest.mark.parametrize("body", ["", "[]", "{}", '"x"', "null", '{"timestamp":"x"}', DEEP, NO_AMOUNT])
def test_an_event_that_was_written_over_stops_nobody(bench: Bench, body: str) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE events SET body = ? WHERE position = 1", (body,))
    bench.deliver()
    assert bench.receiver.positions == [2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1]


def test_half_a_character_stops_nobody(bench: Bench) -> None:
    """An altered event that can be read is told as it is: that it was altered is for proofs to show."""
    bench.endpoints.register(URL)
    bench.order()
    bench.order()
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE events SET body = replace(body, '\"usd\"', '\"\\ud800\"') WHERE position = 1")
    bench.deliver()
    assert sorted(bench.receiver.positions) == [1, 2]


def test_an_event_of_a_former_version_is_told_in_its_present_shape(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StatusChanged, "class_version", 2, raising=False)
    monkeypatch.setattr(
        StatusChanged, "upcast_v1_v2", lambda state: state.update(status=state["status"].upper()), raising=False
    )
    bench.endpoints.register(URL)
    bench.order()
    with bench.store.database.write() as cursor:
        body = '{"timestamp":"2026-01-01T00:00:00.000000Z","previous":"pending","status":"cancelled"}'
        cursor.execute("INSERT INTO events VALUES (2, 'order-1', 2, 'StatusChanged', ?)", (body,))
    bench.deliver()
    assert json.loads(bench.receiver.sent[-1][2])["data"]["status"] == "CANCELLED"


def test_an_event_that_is_missing_stops_nobody(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    bench.order()

    def die(where: str) -> None:
        if where == "filled":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        bench.another(die).step()
    with bench.store.database.write() as cursor:
        cursor.execute("DELETE FROM events WHERE position = 1")
    bench.deliver()
    assert bench.receiver.positions == [2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1]


def test_a_claim_does_not_look_at_all_that_waits(bench: Bench) -> None:
    rows = [(number, f"order-{number // 5}") for number in range(3000)]
    with bench.store.database.write() as cursor:
        cursor.executemany("INSERT INTO webhook_deliveries VALUES ('ep', ?, ?, 0, '', 0, '')", rows)
        cursor.execute("INSERT INTO webhook_endpoints VALUES ('ep', '', '', '', '', '[]', 0, '', 0, '')")
    explain = "EXPLAIN " if bench.store.database.dialect == "postgres" else "EXPLAIN QUERY PLAN "
    with bench.store.database.read() as cursor:
        assert [row[0] for row in cursor.execute(DUE, ("ep", "2030", 3))] == [0, 5, 10]
        plan = "\n".join(str(row[-1]) for row in cursor.execute(explain + DUE, ("ep", "2030", 3)))
    assert "webhook_deliveries_by_time" in plan
    assert "webhook_deliveries_by_stream" in plan
    assert "Sort" not in plan
    assert "Join Filter" not in plan
    assert "SCAN" not in plan


def test_what_is_removed_is_forgotten(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: FAILS
    bench.order()
    bench.deliver()
    bench.endpoints.remove(endpoint.id)
    bench.after(timedelta(days=1))
    assert len(bench.receiver.sent) == 1
    assert bench.endpoints.all() == []
    with bench.store.database.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM webhook_deliveries") == [(0,)]


@pytest.mark.parametrize("answer", [OK, FAILS, GONE])
def test_what_is_removed_while_it_is_sent(bench: Bench, caplog: pytest.LogCaptureFixture, answer: Answer) -> None:
    endpoint, _ = bench.endpoints.register(URL)

    def remove(*_: object) -> Answer:
        bench.endpoints.remove(endpoint.id)
        return answer

    bench.receiver.answer = remove
    bench.order()
    bench.deliver()
    assert bench.endpoints.all() == []
    with bench.store.database.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM webhook_deliveries") == [(0,)]
    assert [record for record in caplog.records if record.levelno >= WARNING] == []


def test_what_is_removed_before_it_is_claimed(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()

    def remove(where: str) -> None:
        if where == "filled":
            bench.endpoints.remove(endpoint.id)

    bench.another(remove).step()
    assert bench.receiver.sent == []


def test_an_endpoint_is_removed_in_the_midst_of_it_all(bench: Bench) -> None:
    """Nobody meets half of it, and none of those who claim, note, replay and remove wait for each other."""
    for _ in range(40):
        bench.order()
    bench.receiver.answer = lambda _, data: FAILS if int(str(data["position"])) % 3 else OK
    others = [bench.another() for _ in range(3)]
    for _ in range(5):
        endpoint, _ = bench.endpoints.register(URL, after=0)
        with ThreadPoolExecutor() as threads:
            working = [threads.submit(lambda other=other: [other.step() for _ in range(8)]) for other in others]
            replayed = threads.submit(bench.endpoints.replay, endpoint.id)
            bench.endpoints.remove(endpoint.id)
            for each in working:
                each.result()
        assert replayed.exception() is None or isinstance(replayed.exception(), UnknownEndpoint)
    with bench.store.database.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM webhook_deliveries") == [(0,)]


@pytest.mark.parametrize("id", ["ep_none", "ep_" + "0" * 18, "", "\0", "ep_" + "0" * 17 + "\0", "\udc80"])
@pytest.mark.parametrize("name", ["remove", "rotate", "enable", "replay", "dead", "get"])
def test_an_endpoint_that_is_not_there(bench: Bench, name: str, id: str) -> None:
    with pytest.raises(UnknownEndpoint, match="There is no webhook endpoint"):
        getattr(bench.endpoints, name)(id)


def test_what_is_no_endpoint_is_refused_and_nothing_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolvable(*_: object) -> list[str]:
        raise OSError("no such name")

    inside = Endpoints(bench.store.database, private=False, resolver=lambda *_: ["127.0.0.1"])
    nowhere = Endpoints(bench.store.database, private=False, resolver=unresolvable)
    for refuse in (
        lambda: bench.endpoints.register("http://shop.example/"),
        lambda: bench.endpoints.register(URL, ["order.shipped"]),
        lambda: inside.register(URL),
        lambda: nowhere.register(URL),
    ):
        with pytest.raises(InvalidEndpoint):
            refuse()
    assert bench.endpoints.all() == []
    monkeypatch.setattr(registry, "MAX_ENDPOINTS", 1)
    bench.endpoints.register(URL)
    with pytest.raises(InvalidEndpoint, match="1 endpoints already"):
        bench.endpoints.register(URL)


def test_a_position_that_is_still_to_come_is_now(bench: Bench) -> None:
    bench.order()
    bench.endpoints.register(URL, after=10**9)
    bench.order()
    bench.deliver()
    assert bench.receiver.positions == [2]


@pytest.mark.parametrize(("status", "arrived"), [(200, 1), (299, 1), (300, 0), (304, 0), (404, 0), (0, 0)])
def test_what_counts_as_arrived(bench: Bench, status: int, arrived: int) -> None:
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: Answer(status, "TimeoutError")
    bench.order()
    bench.deliver()
    assert (bench.only().delivered, bench.only().failing) == (arrived, 1 - arrived)


def test_an_id_is_that_of_a_ledger_an_endpoint_and_an_event(bench: Bench) -> None:
    endpoints = [bench.endpoints.register(url)[0].id for url in (URL, OTHER)]
    bench.order()
    bench.deliver()
    ledger = LedgerId(bench.store.database)()
    assert {headers["webhook-id"] for _, headers, _ in bench.receiver.sent} == {
        f"msg_{ledger}_{endpoint}_1" for endpoint in endpoints
    }


def test_what_becomes_of_one_endpoint_touches_no_other(bench: Bench) -> None:
    bench.endpoints.register(URL)
    other, _ = bench.endpoints.register(OTHER)
    order_id = bench.order()
    bench.receiver.answer = lambda *_: FAILS
    bench.deliver()
    bench.move(order_id, "cancelled")
    bench.now += SCHEDULE[0]
    bench.receiver.answer = lambda url, _: OK if url == OTHER else FAILS
    bench.deliver()
    told = [(each.delivered, each.waiting, each.failing) for each in bench.endpoints.all() if each.id == other.id]
    assert told == [(2, 0, 0)]
    assert [(each.delivered, each.waiting, each.failing) for each in bench.endpoints.all() if each.id != other.id] == [
        (0, 2, 1)
    ]


def test_what_is_given_up_for_one_endpoint_is_replayed_for_it_alone(bench: Bench) -> None:
    one, other = (bench.endpoints.register(url)[0].id for url in (URL, OTHER))
    bench.receiver.answer = lambda url, _: FAILS if url == URL else Answer(0, "TimeoutError")
    bench.order()
    bench.deliver()
    for pause in SCHEDULE:
        bench.after(pause)
    bench.order()
    bench.deliver()
    assert [(each.waiting, each.failing, each.dead) for each in bench.endpoints.all()] == [(1, 1, 1)] * 2
    assert [(each.position, each.error) for each in bench.endpoints.dead(one)] == [(1, "it answered 500")]
    assert [(each.position, each.error) for each in bench.endpoints.dead(other)] == [(1, "TimeoutError")]

    assert bench.endpoints.replay(one) == 1
    bench.deliver()
    told = {each.id: (each.waiting, each.dead) for each in bench.endpoints.all()}
    assert told == {one: (2, 0), other: (1, 1)}, "it begins with the first attempt again"


def test_one_endpoint_is_enabled_rotated_and_removed_and_no_other(bench: Bench) -> None:
    one, secret = bench.endpoints.register(URL)
    other, others = bench.endpoints.register(OTHER)
    bench.receiver.answer = lambda *_: GONE
    bench.order()
    bench.deliver()
    assert all(each.disabled for each in bench.endpoints.all())
    bench.endpoints.enable(one.id)
    assert bench.endpoints.get(one.id).disabled == ""
    assert bench.endpoints.get(other.id).disabled == "it answered 410 Gone"

    bench.endpoints.enable(other.id)
    secret = bench.endpoints.rotate(one.id)
    bench.receiver.answer = lambda *_: OK
    bench.receiver.sent.clear()
    bench.deliver()
    signed = {url: (headers, body) for url, headers, body in bench.receiver.sent}
    for url, key, count in ((URL, secret, 2), (OTHER, others, 1)):
        headers, body = signed[url]
        assert len(headers["webhook-signature"].split()) == count
        Webhook(key).verify(body, dict(headers))

    bench.receiver.answer = lambda *_: FAILS
    bench.order()
    bench.deliver()
    bench.endpoints.remove(one.id)
    assert (bench.only().id, bench.only().waiting) == (other.id, 1)


def test_one_endpoint_is_gone_and_no_other(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.endpoints.register(OTHER)
    bench.receiver.answer = lambda url, _: GONE if url == URL else OK
    bench.order()
    bench.deliver()
    assert {each.url: each.disabled for each in bench.endpoints.all()} == {URL: "it answered 410 Gone", OTHER: ""}


def test_what_was_gone_is_sent_as_soon_as_it_is_enabled(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: GONE
    bench.order()
    bench.deliver()
    bench.order()
    bench.deliver()
    assert bench.only().position == 1, "meanwhile the log waits"
    assert Queue(bench.store.database, jitter=lambda: 0.0).claim(endpoint.id, bench.now + LEASE, 1) == []
    bench.receiver.answer = lambda *_: OK
    bench.endpoints.enable(endpoint.id)
    bench.deliver()
    assert bench.receiver.positions[0] == 1
    assert sorted(bench.receiver.positions[1:]) == [1, 2]


class Beaten:
    """A database in which somebody else does something right before the next transaction."""

    def __init__(self, database: Database, faster: Callable[[], object]) -> None:
        self._database = database
        self._faster = [faster]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def transaction(self) -> Any:
        while self._faster:
            self._faster.pop()()
        return self._database.transaction()


def test_who_claims_what_another_has_just_claimed_gets_nothing(bench: Bench) -> None:
    endpoint, _ = bench.endpoints.register(URL)
    bench.order()
    faster = Queue(bench.store.database, jitter=lambda: 0.0)
    faster.fill(bench.now)
    claimed: list[Delivery] = []
    database = Beaten(bench.store.database, lambda: claimed.extend(faster.claim(endpoint.id, bench.now, 1)))
    slower = Queue(cast("Database", database), jitter=lambda: 0.0)
    assert slower.claim(endpoint.id, bench.now, 1) == []
    assert [each.position for each in claimed] == [1]


def test_what_is_removed_right_before_it_is_queued_or_claimed(bench: Bench) -> None:
    for step in (
        lambda queue, _: queue.fill(bench.now),
        lambda queue, endpoint: queue.claim(endpoint, bench.now, 1),
    ):
        endpoint, _ = bench.endpoints.register(URL)
        bench.order()
        Queue(bench.store.database, jitter=lambda: 0.0).fill(bench.now)
        bench.order()
        database = Beaten(bench.store.database, lambda id=endpoint.id: bench.endpoints.remove(id))
        assert not step(Queue(cast("Database", database), jitter=lambda: 0.0), endpoint.id)


def test_a_failure_that_is_noted_too_late_holds_up_nothing(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.move(bench.order(), "cancelled")
    answers = [FAILS, OK, OK]

    def reply(*_: object) -> Answer:
        mine = answers.pop(0)
        if len(answers) == 2:
            bench.now += LEASE
            other = bench.another()
            other.step()
            other.close()
        return mine

    bench.receiver.answer = reply
    bench.deliver()
    assert bench.receiver.positions == [1, 1, 2]
    assert (bench.only().delivered, bench.only().waiting) == (2, 0)


def test_what_went_wrong_is_kept_in_a_few_words(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.receiver.answer = lambda *_: Answer(0, "x" * 10_000)
    bench.order()
    bench.deliver()
    with bench.store.database.read() as cursor:
        assert cursor.execute("SELECT error FROM webhook_deliveries") == [("x" * 200,)]


@pytest.mark.parametrize("answer", [OK, FAILS, GONE])
@pytest.mark.parametrize("late", [OK, FAILS, GONE])
def test_who_answers_after_its_lease_decides_nothing_for_the_next(bench: Bench, answer: Answer, late: Answer) -> None:
    """Only that it has arrived counts, whoever says so, and once."""
    endpoint, _ = bench.endpoints.register(URL)
    answers = [late, answer]

    def reply(*_: object) -> Answer:
        mine = answers.pop(0)
        if answers:
            bench.now += LEASE
            other = bench.another()
            other.step()
            other.close()
        return mine

    bench.receiver.answer = reply
    bench.order()
    bench.deliver()
    arrived = OK in (answer, late)
    assert (bench.only().delivered, bench.only().waiting) == (arrived, not arrived)
    assert bool(bench.only().disabled) == (GONE in (answer, late))
    if not arrived and answer is FAILS:  # the second attempt: another is due after the second pause
        bench.endpoints.enable(endpoint.id)
        bench.receiver.answer = lambda *_: OK
        bench.after(SCHEDULE[1] - timedelta(seconds=1))
        assert bench.only().delivered == 0
        bench.after(timedelta(seconds=1))
        assert bench.only().delivered == 1


def test_pauses_are_stretched_so_that_not_all_come_back_at_once(bench: Bench) -> None:
    bench.endpoints.register(URL)
    bench.deliverer = Deliverer(bench.store.database, bench.receiver.send, clock=lambda: bench.now, jitter=lambda: 0.2)
    bench.receiver.answer = lambda *_: FAILS
    bench.order()
    bench.deliver()
    bench.after(SCHEDULE[0])
    assert len(bench.receiver.sent) == 1
    bench.after(SCHEDULE[0] * 0.2)
    assert len(bench.receiver.sent) == 2


def test_one_endpoint_takes_up_no_more_than_its_share(bench: Bench) -> None:
    bench.endpoints.register(URL)
    for _ in range(2 * EACH):
        bench.order()
    ended = Event()
    bench.receiver.answer = lambda *_: OK if ended.wait(30) else FAILS
    for _ in range(2):
        bench.deliverer.step()
    with bench.store.database.read() as cursor:
        [(claimed,)] = cursor.execute("SELECT sum(attempts) FROM webhook_deliveries")
    ended.set()
    bench.deliver()
    assert claimed == EACH
    assert bench.only().delivered == 2 * EACH


def test_who_has_had_nothing_yet_comes_first(bench: Bench) -> None:
    """Four slow endpoints take up everything: what they leave is for the fifth, and not for them again."""
    urls = {f"https://shop{number}.example/" for number in range(AT_ONCE // EACH + 1)}
    for url in urls:
        bench.endpoints.register(url)
    for _ in range(2 * EACH):
        bench.order()
    slots = Semaphore(0)
    bench.receiver.answer = lambda *_: OK if slots.acquire(timeout=30) else FAILS
    bench.deliverer.step()
    slots.release()
    while len(bench.receiver.sent) <= AT_ONCE:
        bench.deliverer.step()
    told = {url for url, _, _ in bench.receiver.sent}
    slots.release(1000)
    bench.deliver()
    assert told == urls


def test_no_more_are_claimed_than_are_sent_at_once(bench: Bench) -> None:
    """What would wait for a thread, would wait on its lease."""
    for number in range(AT_ONCE // EACH + 1):
        bench.endpoints.register(f"https://shop{number}.example/")
    for _ in range(EACH):
        bench.order()
    claimed: list[int] = []

    def count(where: str) -> None:
        if where == "claimed":
            with bench.store.database.read() as cursor:
                claimed.extend(row[0] for row in cursor.execute("SELECT sum(attempts) FROM webhook_deliveries"))

    deliverer = bench.another(count)
    deliverer.step()
    deliverer.close()
    assert claimed == [AT_ONCE]


def test_an_error_that_nobody_thought_of_is_not_hidden(bench: Bench) -> None:
    bench.endpoints.register(URL)

    def fail(*_: object) -> Answer:
        raise ZeroDivisionError

    bench.receiver.answer = fail
    bench.order()
    with pytest.raises(ZeroDivisionError):
        bench.deliver()


def test_what_can_not_be_noted_is_sent_again(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailable("gone")

    bench.endpoints.register(URL)
    bench.order()
    with monkeypatch.context() as outage:
        outage.setattr(Queue, "delivered", fail)
        bench.deliver()
    assert "could not be noted" in caplog.text
    bench.after(LEASE)
    assert bench.receiver.positions == [1, 1]
    assert len({headers["webhook-id"] for _, headers, _ in bench.receiver.sent}) == 1
    assert bench.only().delivered == 1


def test_endpoints_are_in_the_order_of_registration(bench: Bench) -> None:
    numbers = iter((3, 1, 2))
    endpoints = Endpoints(
        bench.store.database,
        private=True,
        resolver=lambda *_: ["127.0.0.1"],
        clock=lambda: bench.now,
        random=lambda size: bytes([next(numbers)] * size) if size == 9 else bytes(size),
    )
    for path in "abc":
        endpoints.register(f"{URL}/{path}")
        bench.now += timedelta(seconds=1)
    assert [each.url[-1] for each in endpoints.all()] == ["a", "b", "c"]


def test_dead_letters_come_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_DEAD", 2)
    endpoint, _ = bench.endpoints.register(URL)
    with bench.store.database.write() as cursor:
        rows = [(endpoint.id, position) for position in (3, 1, 2)]
        cursor.executemany("INSERT INTO webhook_deliveries VALUES (?, ?, 'order-1', 10, '', 1, 'x')", rows)
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1, 2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id, after=2)] == [3]


def test_a_secret_is_as_long_as_the_specification_wants_it(bench: Bench) -> None:
    endpoint, secret = bench.endpoints.register(URL)
    for each in (secret, bench.endpoints.rotate(endpoint.id)):
        assert 24 <= len(base64.b64decode(each.removeprefix("whsec_"))) <= 64


def test_what_is_no_event_of_an_order_is_passed_over(bench: Bench) -> None:
    bench.endpoints.register(URL)
    with bench.store.database.write() as cursor:
        cursor.execute("INSERT INTO events VALUES (1, 's-1', 1, 'Unrelated', '{}')")
    bench.deliver()
    assert (bench.only().position, bench.only().waiting, bench.only().dead) == (1, 0, 0)


def test_what_each_type_tells(bench: Bench) -> None:
    make_busy(bench.store)
    bench.endpoints.register(URL, after=0)
    bench.deliver()
    bodies = [json.loads(body) for _, _, body in bench.receiver.sent]
    with bench.store.database.read() as cursor:
        rows = cursor.execute(
            "SELECT position, stream, version, type, body FROM events WHERE stream LIKE 'order-%' ORDER BY position"
        )
    assert {row[3] for row in rows} == set(TYPES)
    expected = []
    for position, stream, version, kind, text in rows:
        body = json.loads(text)
        amount = {"amountInCents": body.get("amount_in_cents"), "currency": body.get("currency")}
        facts = {
            "OrderCreated": {"userId": body.get("user_id"), "status": "pending"} | amount,
            "StatusChanged": {"previous": body.get("previous"), "status": body.get("status")},
            "PaymentRecorded": {"status": body.get("order_status"), "kind": body.get("kind")} | amount,
        }[kind]
        order = {"orderId": int(stream.removeprefix("order-")), "version": version, "position": position}
        expected.append({"type": TYPES[kind], "timestamp": body["timestamp"], "data": order | facts})
    assert sorted(bodies, key=lambda each: each["data"]["position"]) == expected


def test_a_long_log_is_queued_without_a_pause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when there is nothing to send of it, and when the last endpoint has enough."""
    monkeypatch.setattr("projections.webhooks.queue.BATCH", 2)
    for _ in range(5):
        bench.order()
    ids = [bench.endpoints.register(url, ["order.status_changed"], after=0)[0].id for url in (URL, OTHER)]
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE webhook_endpoints SET position = 4 WHERE id = ?", (max(ids),))
    bench.deliver()
    assert [endpoint.position for endpoint in bench.endpoints.all()] == [5, 5]
