"""Random histories with rebuilds, swaps and ways back in the middle of them: inline equals rebuilt, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.actor import Actor, Cause, Role
from ledger.application import OrderLedger
from ledger.cart import CartItem
from ledger.errors import AlreadyRunning, LedgerError, StorageUnavailable
from ledger.leads import LeadMove
from ledger.payments.gateway import PaymentNotice
from ledger.statuses import Status
from projections.check import differences
from projections.live import LiveViews
from projections.poison import PoisonEvent
from projections.rebuild import rebuild, roll_back
from projections.store import VIEWS
from projections.view import View
from projections.watcher import Watcher
from tests.support.lives import deliveries, lives
from tests.support.postgres import temporary_database
from tests.support.rebuilds import rows_of
from tests.support.storages import PAYMENTS, STAFF, Store, opened_store
from tests.support.versions import NEXT

KNOWN = NEXT[:-1]
LATEST = {view.name: view for view in KNOWN}
QUIET = ("copying", "indexing", "clearing", "catching up", "swapping")
"""Phases in which no transaction is open, so that a history may go on in the same thread."""

Step = Callable[[Store], object]
_keys = count(1)


def _key() -> Cause:
    return Cause(idempotency_key=f"key-{next(_keys)}", request_hash="h")


def _created(user: int, product: str, quantity: int) -> Step:
    buyer = Actor(user, Role.CUSTOMER)
    return lambda store: store.ledger.create_order([CartItem(product, quantity)], actor=buyer, cause=_key())


def _moved(order_id: int, status: Status) -> Step:
    return lambda store: store.ledger.change_status(order_id, status, actor=STAFF, cause=_key())


def _arranged(user: int, lead: int, place: int) -> Step:
    actor = Actor(user, Role.CUSTOMER)
    return lambda store: store.ledger.arrange_leads([LeadMove(lead, place)], actor=actor, cause=Cause())


def _told(order_id: int, notices: Sequence[PaymentNotice]) -> Step:
    def tell(store: Store) -> None:
        with store.database.read() as cursor:
            found = cursor.execute("SELECT intent_id, amount FROM payment_intents WHERE order_id = ?", (order_id,))
        for notice in notices if found else ():
            told = PaymentNotice(**{**_members(notice), "intent_id": found[0][0]})
            _tried(store.ledger, told)

    return tell


def _tried(ledger: OrderLedger, notice: PaymentNotice) -> None:
    ledger.record_payment(notice, actor=PAYMENTS, cause=Cause(stripe_event_id=f"evt_{next(_keys)}"))


def _members(notice: PaymentNotice) -> dict[str, Any]:
    return {name: getattr(notice, name) for name in notice.__dataclass_fields__}


def _rebuilt(view: View, during: Sequence[tuple[str, Step]]) -> Step:
    def make(store: Store) -> None:
        waiting = list(during)

        def at(phase: str) -> None:
            if waiting and waiting[0][0] == phase:
                _do(store, waiting.pop(0)[1])

        rebuild(store.database, view, KNOWN, watcher=Watcher(at=at))

    return make


def _rolled_back(name: str) -> Step:
    return lambda store: roll_back(store.database, LATEST[name], KNOWN)


def _do(store: Store, step: Step) -> None:
    try:
        step(store)
    except LedgerError as error:
        # A move that is not in the table, an order that is not there, nothing to go back to: histories have them.
        if isinstance(error, StorageUnavailable | AlreadyRunning | PoisonEvent):
            raise


created = st.builds(_created, st.integers(1, 3), st.sampled_from("123"), st.integers(1, 5))
order_ids = st.integers(1, 6)
histories = st.one_of(
    created,
    created,
    st.builds(_moved, order_ids, st.sampled_from(Status)),
    st.builds(_arranged, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    lives("pi_any", 1999)
    .flatmap(lambda life: deliveries(life.notices))
    .flatmap(lambda notices: st.builds(_told, order_ids, st.just(notices))),
)
during = st.lists(st.tuples(st.sampled_from(QUIET), histories), max_size=3)
jobs = st.one_of(
    st.builds(_rebuilt, st.sampled_from([*VIEWS[:1], *KNOWN]), during),
    st.builds(_rolled_back, st.sampled_from(["orders", *LATEST])),
)
chapters = st.tuples(st.lists(histories, max_size=5), jobs).map(lambda chapter: [*chapter[0], chapter[1]])
steps = st.lists(chapters, min_size=2, max_size=8).map(lambda parts: [step for part in parts for step in part])


def _lived(store: Store, history: Sequence[Step]) -> None:
    for step in history:
        _do(store, step)
    assert differences(store.database, KNOWN) == []
    for view in LiveViews(store.database, KNOWN).now().views:
        inline = rows_of(store, view)
        rebuild(store.database, view, KNOWN)
        assert rows_of(store, view) == inline


@contextmanager
def _fresh(request: pytest.FixtureRequest, kind: str) -> Iterator[Store]:
    with ExitStack() as stack:
        if kind == "memory":
            url = "sqlite:///:memory:"
        elif kind == "sqlite":
            url = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/ledger.db"
        else:
            url = stack.enter_context(temporary_database(request.getfixturevalue("postgres_server")))
        yield stack.enter_context(opened_store(url, KNOWN))


EXAMPLES = {"memory": 100, "sqlite": 15, "postgres": 10}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_inline_equals_rebuilt(request: pytest.FixtureRequest, kind: str) -> None:
    @settings(max_examples=EXAMPLES[kind], deadline=None, suppress_health_check=list(HealthCheck))
    @given(history=steps)
    def lived(history: list[Step]) -> None:
        with _fresh(request, kind) as store:
            _lived(store, history)

    lived()
