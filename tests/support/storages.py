"""The storages that the conformance suite and many other tests run on, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ledger.actor import Actor, Role
from ledger.application import OrderLedger
from ledger.catalogue import Catalogue
from ledger.payments.sandbox import SandboxGateway
from ledger.ports import Ports
from ledger.storage import Database, open_database
from ledger.storage.intents import IntentOrders
from ledger.storage.recorder import LogRecorder
from ledger.storage.reservations import Reservations
from projections.check import differences
from projections.idempotency import ReceiptReads
from projections.leads import LeadReads
from projections.live import LiveViews
from projections.migrate import migrate
from projections.orders import OrderReads
from projections.payments import PaymentReads
from projections.store import VIEWS
from projections.verify import verify_database
from projections.view import View

CUSTOMER, OTHER = Actor(1, Role.CUSTOMER), Actor(2, Role.CUSTOMER)
PAYMENTS = Actor(None, Role.PAYMENTS)
STAFF, ADMIN, AUDITOR = Actor(90, Role.STAFF), Actor(91, Role.ADMIN), Actor(92, Role.AUDITOR)


class TickingClock:
    """A clock that goes one second forward each time it is asked."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


@dataclass
class Store:
    """A ledger over one database, with everything that tests look at."""

    database: Database
    recorder: LogRecorder
    gateway: SandboxGateway
    ledger: OrderLedger
    orders: OrderReads
    leads: LeadReads
    receipts: ReceiptReads
    payments: PaymentReads
    ports: Ports

    def with_gateway(self, gateway: SandboxGateway) -> OrderLedger:
        """The same ledger with another gateway."""
        return OrderLedger(replace(self.ports, gateway=gateway))

    def assert_sound(self) -> None:
        """Log and views are sound, and an auditor finds nothing wrong. Unrelated events are the tests' own."""
        faults = [*differences(self.database), *verify_database(self.database, [], []).findings.faults]
        assert [fault for fault in faults if "Unrelated" not in fault] == []


@contextmanager
def opened_store(url: str, known: Sequence[View] = VIEWS) -> Iterator[Store]:
    """A migrated ledger at this URL, closed at the end; of the release whose views these are."""
    database = open_database(url)
    migrate(database, known)
    clock = TickingClock()
    gateway = SandboxGateway(database, clock=clock)
    views = LiveViews(database, known)
    ports = Ports(
        recorder=LogRecorder(database, views),
        receipts=ReceiptReads(views),
        gateway=gateway,
        catalogue=Catalogue.load(None),
        currency="usd",
        reserve_order=Reservations(database, clock=clock).fresh,
        order_of_intent=IntentOrders(database).order_of,
        clock=clock,
    )
    ledger = OrderLedger(ports)
    reads = (OrderReads(views), LeadReads(views), ports.receipts, PaymentReads(views))
    try:
        yield Store(database, ports.recorder, gateway, ledger, *reads, ports)
    finally:
        ledger.close()
        database.close()
