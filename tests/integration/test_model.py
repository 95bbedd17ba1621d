"""Random commands by several users, against the API and against a model of the specification, side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from werkzeug.test import TestResponse

from ledger.actor import Actor, Cause, Role
from ledger.errors import OrderNotThereYet, PaymentNotConfirmed, UnknownOrder
from ledger.payments.gateway import PaymentKind, PaymentNotice
from ledger.settings import Settings
from ledger.storage.recorder import read_log
from projections.check import differences
from projections.verify import verify_database
from scripts.bootstrap import Runtime, build
from tests.support.inputs import (
    boards,
    carts,
    good_carts,
    keys,
    odd_keys,
    odd_statuses,
    odd_updates,
    picks,
    refunds,
    spellings,
    tags,
)
from tests.support.model import LARGEST, MOVES, Caller, Expected, Model, Order, status_named
from tests.support.server import SECRET, token

CAST = ("customer", "customer", "staff", "auditor", "admin")
STAFF = 2
_examples = count()
"""Every example has users of its own, so that all of them can share one database, and the time to make it."""

callers = st.integers(0, len(CAST))
NO_HEADERS: Mapping[str, str | None] = MappingProxyType({})
PROTECTED = (
    ("GET", "/orders"),
    ("GET", "/orders/1"),
    ("POST", "/orders/new"),
    ("POST", "/orders/status-update"),
    ("GET", "/leads/statuses"),
    ("PUT", "/leads/statuses/order"),
)
REACHED = {
    (200, ""),
    (200, "replayed"),
    (201, ""),
    (201, "replayed"),
    (304, ""),
    (400, "illegal-move"),
    (400, "invalid-amount"),
    (400, "invalid-arrangement"),
    (400, "invalid-body"),
    (400, "invalid-cart"),
    (400, "invalid-header"),
    (400, "invalid-query"),
    (400, "move-not-allowed"),
    (400, "payment-not-confirmed"),
    (400, "refund-refused"),
    (400, "refund-required"),
    (400, "unknown-order"),
    (400, "unknown-status"),
    (403, "forbidden"),
    (404, "no-such-order"),
    (412, "version-mismatch"),
    (422, "idempotency-key-reused"),
}
"""Every kind of answer; a run that does not meet each of them has tested too little."""


@dataclass(frozen=True)
class Page:
    """A page of a list: where it is found, and what should be on it."""

    caller: Caller
    link: str
    status: str | None
    limit: int
    before: int | None = None


class SideBySide(RuleBasedStateMachine):
    """Sends each request to the API and tells it to the model; the two have to agree."""

    def __init__(self, runtime: Runtime, client: Any, seen: Counter[tuple[int, str]]) -> None:
        super().__init__()
        first = next(_examples) * 100 + 1
        self.callers = [Caller(first + number, role) for number, role in enumerate(CAST)]
        self.callers.append(Caller(first, "customer", act=first + 50))
        self.runtime = runtime
        self.client = client
        self.seen = seen
        self.model = Model()
        self.head = runtime.services.health.head()
        assert runtime.sandbox is not None
        self.sandbox = runtime.sandbox
        self.notices: list[tuple[Order, PaymentNotice, str]] = []
        self.sent: list[tuple[str, int, Any, str]] = []
        self.links: list[Page] = []
        self.requests = count(1)

    @initialize(who=st.integers(0, 1), other=callers)
    def begin(self, who: int, other: int) -> None:
        """Most of what can go wrong needs an order first."""
        self.create(who, ["1"], None)
        self.create(other, ["2"], '"a"')

    # --- commands

    @rule(who=callers, cart=carts, key=keys)
    def create(self, who: int, cart: Any, key: str | None) -> None:
        caller = self.callers[who]
        before, request_id = datetime.now(UTC), self._request_id()
        headers = {"X-Request-Id": request_id, "Idempotency-Key": key}
        answer = self._send("POST", "/orders/new", caller, cart, headers)
        expected = self.model.create(caller, cart, key, request_id)
        order = expected.order
        if order is not None and order.id == 0:
            self._learn(order, answer, before)
        if order is not None:
            assert answer.headers["Location"] == f"/orders/{order.id}"
            expected = Expected(201, order.shown("pending"), expected.headers)
        self._agree(answer, expected)
        if key is not None:
            self.sent.append(("create", who, cart, key))

    @precondition(lambda self: self.model.orders)
    @rule(who=callers, pick=picks, status=st.one_of(*[spellings] * 9, odd_statuses), tag=tags, key=keys)
    def update(self, who: int, pick: int, status: str, tag: str | None, key: str | None) -> None:
        order = self._order(pick)
        self._update(who, {"orderId": order.id, "status": status}, self._if_match(order, tag), key)

    @precondition(lambda self: self.model.orders)
    @rule(pick=picks, move=picks, as_staff=st.booleans(), tag=tags, key=keys)
    def move_on(self, pick: int, move: int, as_staff: bool, tag: str | None, key: str | None) -> None:
        """A move that the table has, by somebody who has a say."""
        order = self._order(pick)
        # What closes an order comes last and less often, or else few orders would live long.
        still_open = [status for status in MOVES[order.status] if MOVES[status]]
        possible = still_open * 3 + [*MOVES[order.status]] or [order.status]
        owner = next(index for index, caller in enumerate(self.callers) if caller.user == order.owner)
        body = {"orderId": order.id, "status": possible[move % len(possible)]}
        self._update(STAFF if as_staff else owner, body, self._if_match(order, tag), key)

    @precondition(lambda self: self.sent)
    @rule(
        pick=picks,
        change=st.sampled_from(["", "", "order", "body", "user", "quotes"]),
        tag=st.sampled_from([None, "*"]),
    )
    def repeat(self, pick: int, change: str, tag: str | None) -> None:
        """An earlier request with its key: as it was, or with something changed."""
        operation, who, body, key = self.sent[pick % len(self.sent)]
        if change == "order" and isinstance(body, dict):
            body = dict(reversed(body.items()))
        if change == "body":
            body = ["2", "3"] if operation == "create" else {**body, "orderId": LARGEST}
        if change == "quotes" and not key.startswith('"'):
            key = f'"{key}"'
        who = (who + 1) % len(self.callers) if change == "user" else who
        if operation == "create":
            self.create(who, body, key)
        else:
            self._update(who, body, tag, key)

    @rule(who=callers, board=boards)
    def arrange(self, who: int, board: Any) -> None:
        caller = self.callers[who]
        answer = self._send("PUT", "/leads/statuses/order", caller, board)
        self._agree(answer, self.model.arrange(caller, board))

    # --- payments

    @precondition(lambda self: self.model.orders)
    @rule(pick=picks, fail=st.booleans(), at_once=st.booleans())
    def settle(self, pick: int, fail: bool, at_once: bool) -> None:
        """The customer pays, or fails to; the webhook comes at once, later, or never."""
        order = self._order(pick)
        if order.given_up:
            with pytest.raises(PaymentNotConfirmed):
                self.sandbox.settle(order.id, fail=fail)
            return
        notice = self.sandbox.settle(order.id, fail=fail)
        order.received = order.received or not fail
        assert notice.kind == ("received" if order.received else "failed")
        self._happened(order, notice, at_once=at_once)

    @precondition(lambda self: self.notices)
    @rule(pick=picks)
    def notify(self, pick: int) -> None:
        """A webhook: any, in any order, any number of times."""
        order, notice, event_id = self.notices[pick % len(self.notices)]
        actor, cause = Actor(None, Role.PAYMENTS), Cause(stripe_event_id=event_id)
        self.runtime.services.ledger.record_payment(notice, actor=actor, cause=cause)
        self.model.notified(order, notice.kind, notice.occurred_at, notice.amount, event_id)

    @precondition(lambda self: self.model.orders)
    @rule(pick=picks, at_once=st.booleans())
    def refund_at_the_gateway(self, pick: int, at_once: bool) -> None:
        order = self._order(pick)
        notice = self.sandbox.refund_all(order.id)
        assert (notice is not None) == order.received
        order.refunded = order.amount if order.received else 0
        if notice is not None:
            self._happened(order, notice, at_once=at_once)

    @precondition(lambda self: self.model.orders)
    @rule(who=st.one_of(st.just(STAFF), callers), pick=picks, body=refunds, key=st.one_of(st.just("r"), keys, odd_keys))
    def refund(self, who: int, pick: int, body: Any, key: str | None) -> None:
        caller, order, request_id = self.callers[who], self._order(pick), self._request_id()
        headers = {"X-Request-Id": request_id, "Idempotency-Key": key}
        answer = self._send("POST", f"/orders/{order.id}/refunds", caller, body, headers)
        expected = self.model.refund(caller, order.id, body, key, request_id)
        if expected.status == 201 and not expected.body["id"]:
            expected.body["id"] = answer.get_json().get("id")
            assert re.fullmatch(r"re_\w+", expected.body["id"])
        self._agree(answer, expected)

    def _happened(self, order: Order, notice: PaymentNotice, *, at_once: bool) -> None:
        self.notices.append((order, notice, f"evt_{order.id}_{len(self.notices)}"))
        if at_once:
            self.notify(len(self.notices) - 1)

    @rule(
        who=callers,
        steps=st.sampled_from(
            [(), ("Awaiting Payment",), ("Payment Failed",), ("Order Paid",), ("Order Paid", "Shipped")]
        ),
        payment=st.sampled_from(["none", "failed", "succeeded", "notified", "refunded"]),
        asked=st.sampled_from(["Cancelled", "Order Paid", "Completed"]),
        by_staff=st.booleans(),
    )
    def story(self, who: int, steps: tuple[str, ...], payment: str, asked: str, by_staff: bool) -> None:
        """A new order in some state, and a request that its payment decides: rare when left to chance."""
        self.create(who, ["3"], None)
        for step in steps:
            self._update(STAFF, {"orderId": self.model.orders[-1].id, "status": step}, None, None)
        newest = len(self.model.orders[-4:]) - 1
        if payment != "none":
            self.settle(newest, fail=payment == "failed", at_once=payment == "notified")
        if payment == "refunded":
            self.refund_at_the_gateway(newest, at_once=False)
        self._update(STAFF if by_staff else who, {"orderId": self._order(newest).id, "status": asked}, None, None)

    # --- queries

    @precondition(lambda self: self.model.orders)
    @rule(who=callers, pick=picks, tag=st.sampled_from([None, "current", "stale", "weak", "several", "*", "bad"]))
    def detail(self, who: int, pick: int, tag: str | None) -> None:
        caller, order = self.callers[who], self._order(pick)
        known = self._if_match(order, tag)
        answer = self._send("GET", f"/orders/{order.id}", caller, None, {"If-None-Match": known})
        expected = Expected(200, order.shown(to_its_owner=order.owner == caller.user), {"ETag": order.tag})
        if self.model.visible(order.id, caller) is None:
            expected = Expected(refusals=frozenset({(404, "no-such-order")}))
        elif tag in {"current", "weak", "several", "*"}:
            expected = Expected(304, None, {"ETag": order.tag})
        self._agree(answer, expected)

    @precondition(lambda self: self.model.orders)
    @rule(who=callers, pick=picks)
    def payment(self, who: int, pick: int) -> None:
        caller, order = self.callers[who], self._order(pick)
        expected = Expected(200, order.payment())
        if self.model.visible(order.id, caller) is None:
            expected = Expected(refusals=frozenset({(404, "no-such-order")}))
        self._agree(self._send("GET", f"/orders/{order.id}/payment", caller), expected)

    @rule(who=callers, status=st.one_of(st.none(), spellings), limit=st.sampled_from([None, 1, 2, 3, 1000]))
    def list_all(self, who: int, status: str | None, limit: int | None) -> None:
        """The list, page by page to its end."""
        query = {name: value for name, value in (("status", status), ("limit", limit)) if value is not None}
        page: Page | None = Page(
            self.callers[who], f"/orders?{urlencode(query)}", status and status_named(status), limit or 1000
        )
        while page is not None:
            page = self._page(page)

    @precondition(lambda self: self.links)
    @rule(pick=picks)
    def list_on(self, pick: int) -> None:
        """A page whose link was given earlier, after whatever has happened since."""
        self._page(self.links[pick % len(self.links)])

    @rule(who=callers)
    def board(self, who: int) -> None:
        caller = self.callers[who]
        names = {1: "New", 2: "Contacted", 3: "Qualified", 4: "Lost"}
        places = enumerate(self.model.boards.get(caller.user, [1, 2, 3, 4]), 1)
        rows = [{"id": id, "name": names[id], "statusOrder": place} for place, id in places]
        self._agree(self._send("GET", "/leads/statuses", caller), Expected(200, rows))

    # --- what nobody should do

    @rule(who=callers, key=odd_keys, cart=good_carts, update=odd_updates, unknown=st.sampled_from([2**40, LARGEST]))
    def misuse(self, who: int, key: str, cart: Any, update: Any, unknown: int) -> None:
        """Malformed keys, bodies and queries, orders that do not exist, and no token."""
        self.create(who, cart, key)
        self._update(who, update, None, None)
        self._update(who, {"orderId": unknown, "status": "Shipped"}, '"1"', None)
        for query in ("limit=0", "limit=1001", "limit=x", "cursor=0", "x=1", "status=paid", "limit=1&limit=1"):
            answer = self._send("GET", f"/orders?{query}", self.callers[who])
            self._agree(answer, Expected(refusals=frozenset({(400, "invalid-query"), (400, "unknown-status")})))
        with pytest.raises(UnknownOrder):
            self.sandbox.settle(unknown)
        early = PaymentNotice(PaymentKind.RECEIVED, "pi_0", 1, "usd", "2026-01-01T00:00:00.000000Z", unknown)
        with pytest.raises(OrderNotThereYet):
            self.runtime.services.ledger.record_payment(early, actor=Actor(None, Role.PAYMENTS), cause=Cause())
        for method, path in PROTECTED:
            answer = self.client.open(path, method=method, json=["1"])
            assert (answer.status_code, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")

    # --- always

    @invariant()
    def nothing_is_recorded_that_the_model_does_not_know(self) -> None:
        assert self.runtime.services.health.head() - self.head == self.model.events

    def teardown(self) -> None:
        """In the end the log is sound, the views equal their replay, and every event says who and why."""
        assert differences(self.runtime.database) == []
        assert verify_database(self.runtime.database, [], []).findings.faults == []
        with self.runtime.database.snapshot() as cursor:
            log = list(read_log(cursor))
        assert [event.position for event in log] == list(range(1, len(log) + 1))
        for order in self.model.orders:
            if order.id:
                self._same_history(order)

    def _same_history(self, order: Order) -> None:
        history = self.runtime.services.ledger.history(order.id)
        bodies = [json.loads(event.body) for event in history]
        told = [
            (body.get("status") or body.get("order_status", "pending"), body["actor"], body["cause"]) for body in bodies
        ]
        for _, _, cause in told:
            assert (cause.pop("request_hash", None) is None) == ("idempotency_key" not in cause)
        assert told == order.history
        assert [entry.version for entry in history] == list(range(1, len(history) + 1))

    # --- how

    def _update(self, who: int, body: Any, if_match: str | None, key: str | None) -> None:
        caller, request_id = self.callers[who], self._request_id()
        headers = {"X-Request-Id": request_id, "Idempotency-Key": key, "If-Match": if_match}
        answer = self._send("POST", "/orders/status-update", caller, body, headers)
        self._agree(answer, self.model.update(caller, body, key, if_match, request_id))
        if key is not None and isinstance(body, dict):
            self.sent.append(("update", who, body, key))

    def _page(self, page: Page) -> Page | None:
        orders, more = self.model.listed(page.caller, page.status, page.before, page.limit)
        answer = self._send("GET", page.link, page.caller)
        self._agree(answer, Expected(200, [order.shown() for order in orders]))
        assert ("Link" in answer.headers) == more
        if not more:
            return None
        found = re.fullmatch(r'<(/orders\?[^>]*)>; rel="next"', answer.headers["Link"])
        assert found is not None
        self.links.append(replace(page, link=found[1], before=orders[-1].id))
        return self.links[-1]

    def _learn(self, order: Order, answer: TestResponse, before: datetime) -> None:
        """Takes over what the server alone may choose, if it makes sense."""
        assert answer.status_code == 201, answer.text
        order.id, order.date, order.secret = (answer.get_json()[name] for name in ("id", "date", "clientSecret"))
        assert order.id > max((other.id for other in self.model.orders[:-1]), default=0)
        assert order.date.endswith("Z")
        assert before <= datetime.fromisoformat(order.date) <= datetime.now(UTC)
        assert re.fullmatch(r"pi_\w+_secret_\w+", order.secret)
        assert order.secret not in {other.secret for other in self.model.orders[:-1]}

    def _if_match(self, order: Order, tag: str | None) -> str | None:
        version = len(order.history)
        stale, current = f'"{version + 1}"', order.tag
        several = f'"0", {stale} ,W/{stale},{current}'
        named = {"current": current, "stale": stale, "weak": f"W/{current}", "several": several}
        return {**named, "none": '"x", "0"', "bad": str(version), "*": "*"}.get(tag) if tag else None

    def _order(self, pick: int) -> Order:
        recent = self.model.orders[-4:]
        return recent[pick % len(recent)]

    def _request_id(self) -> str:
        return f"request-{next(self.requests)}"

    def _send(
        self, method: str, path: str, caller: Caller, body: Any = None, headers: Mapping[str, str | None] = NO_HEADERS
    ) -> TestResponse:
        claims = {} if caller.act is None else {"act": {"sub": str(caller.act)}}
        sent = {"Authorization": f"Bearer {token(caller.user, caller.role, **claims)}"}
        sent |= {"X-Request-Id": self._request_id()} | {
            name: value for name, value in headers.items() if value is not None
        }
        content = {} if method == "GET" else {"data": json.dumps(body), "content_type": "application/json"}
        answer: TestResponse = self.client.open(path, method=method, headers=sent, **content)
        assert answer.headers["X-Request-Id"] == sent["X-Request-Id"]
        return answer

    def _agree(self, answer: TestResponse, expected: Expected) -> None:
        if expected.refusals:
            assert answer.headers["Content-Type"] == "application/problem+json", answer.text
            document = answer.get_json()
            slug = document["type"].removeprefix("/problems/")
            self.seen[answer.status_code, slug] += 1
            assert (answer.status_code, slug) in expected.refusals, (answer.status_code, document)
            assert (document["status"], document["requestId"]) == (answer.status_code, answer.headers["X-Request-Id"])
            assert document["title"]
            assert document["detail"]
            assert expected.paths is None or set(document["errors"]) == expected.paths, document
            assert not {"ETag", "Idempotency-Replayed", "Location"} & set(answer.headers.keys())
            return
        assert answer.status_code == expected.status, answer.text
        self.seen[answer.status_code, "replayed" if "Idempotency-Replayed" in answer.headers else ""] += 1
        if expected.body is None:
            assert answer.data == b""
        else:
            assert answer.headers["Content-Type"] == "application/json"
            assert json.dumps(answer.get_json()) == json.dumps(expected.body)
        for name, value in expected.headers.items():
            assert answer.headers.get(name) == value, name


@pytest.fixture
def runtime(database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    environ = {"LEDGER_DATABASE_URL": database_url, "LEDGER_VAR_DIR": str(tmp_path), "LEDGER_JWT_SECRET": SECRET}
    with build(Settings.from_env(environ)) as built:
        built.migrate()
        yield built


@pytest.mark.slow
def test_api_and_model_agree(runtime: Runtime) -> None:
    client, seen = runtime.app().test_client(), Counter[tuple[int, str]]()
    run_state_machine_as_test(
        cast("type[SideBySide]", lambda: SideBySide(runtime, client, seen)),  # any factory will do
        # Derandomized: what is tested is the change, not the day's luck. A longer search is another number of examples.
        settings=settings(
            max_examples=150,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            # Shrinking takes minutes here; add it when a failure is to be looked into.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert set(seen) == REACHED
