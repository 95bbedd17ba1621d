"""The registry of webhook endpoints on every storage: each on its own, and forgotten when it is removed."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from logging import WARNING

import pytest
from standardwebhooks import Webhook

from ledger.errors import InvalidEndpoint, UnknownEndpoint
from projections.webhooks import endpoints as registry
from projections.webhooks.endpoints import ROTATION, Endpoints
from projections.webhooks.queue import SCHEDULE, Queue
from projections.webhooks.sending import Answer
from tests.support.webhooks import FAILS, GONE, OK, OTHER, URL, Bench


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


def test_a_secret_is_as_long_as_the_specification_wants_it(bench: Bench) -> None:
    endpoint, secret = bench.endpoints.register(URL)
    for each in (secret, bench.endpoints.rotate(endpoint.id)):
        assert 24 <= len(base64.b64decode(each.removeprefix("whsec_"))) <= 64


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


def test_dead_letters_come_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_DEAD", 2)
    endpoint, _ = bench.endpoints.register(URL)
    with bench.store.database.write() as cursor:
        rows = [(endpoint.id, position) for position in (3, 1, 2)]
        cursor.executemany("INSERT INTO webhook_deliveries VALUES (?, ?, 'order-1', 10, '', 1, 'x')", rows)
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id)] == [1, 2]
    assert [letter.position for letter in bench.endpoints.dead(endpoint.id, after=2)] == [3]


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


@pytest.mark.parametrize(("answer", "attempts"), [(OK, 0), (FAILS, 0), (FAILS, len(SCHEDULE)), (GONE, 0)])
def test_what_is_removed_while_it_is_sent(
    bench: Bench, caplog: pytest.LogCaptureFixture, answer: Answer, attempts: int
) -> None:
    endpoint, _ = bench.endpoints.register(URL)

    def remove(*_: object) -> Answer:
        bench.endpoints.remove(endpoint.id)
        return answer

    bench.receiver.answer = remove
    bench.order()
    Queue(bench.store.database, jitter=lambda: 0.0).fill(endpoint.id, bench.now)
    with bench.store.database.write() as cursor:
        cursor.execute("UPDATE webhook_deliveries SET attempts = ?", (attempts,))
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


def test_an_endpoint_is_removed_in_the_midst_of_it_all(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
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
    assert [record for record in caplog.records if record.levelno >= WARNING] == []
    with bench.store.database.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM webhook_deliveries") == [(0,)]
