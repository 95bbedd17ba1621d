"""Appends a second: ours, the library's own recorder, message-db, and the floor, with 1 to 64 threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import rows
from benchmarks.databases import postgres_database, sqlite_directory
from benchmarks.measure import Numbers, Round, Say, Summary, run_threads
from benchmarks.stores import Store, message_db
from benchmarks.stores.floor import Floor, PostgresFloor, SqliteFloor
from benchmarks.stores.library import Library
from benchmarks.stores.ours import Ours
from ledger.storage.log import NewEvent
from projections.live import writes_of
from projections.store import VIEWS

THREADS = (1, 4, 16, 64)
_FLOOR_WRITERS = 2
"""As in the ledger, one batch can be made ready while another one is being written."""


@dataclass(frozen=True)
class Plan:
    """How long it takes."""

    threads: Sequence[int] = THREADS
    rounds: int = 5
    seconds: float = 1.5
    databases: Sequence[str] = ("postgres", "sqlite")


@dataclass
class Case:
    """All rounds of one contestant on one database with so many threads."""

    database: str
    threads: int
    store: str
    rounds: list[Round] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """For the report."""
        numbers = {
            "per_second": Summary.of([each.per_second for each in self.rounds]),
            "p50_ms": Summary.of([each.p50 for each in self.rounds]),
            "p99_ms": Summary.of([each.p99 for each in self.rounds]),
            "batch": Summary.of(self.batch),
        }
        return {
            "database": self.database,
            "threads": self.threads,
            "store": self.store,
            **{name: summary and summary._asdict() for name, summary in numbers.items()},
            "rounds": [asdict(each) for each in self.rounds],
        }


def run(plan: Plan, server_url: str | None, say: Say) -> dict[str, Any]:
    """Everything; ``server_url`` is that of the PostgreSQL server, for as far as it takes part."""
    assert_same_rows()
    notes: list[str] = []
    cases: list[Case] = []
    for database in plan.databases:
        for threads in plan.threads:
            with _stores(database, server_url, notes) as stores:
                cases += _measure(database, threads, stores, plan, say)
    return {"cases": [case.report() for case in cases], "notes": notes}


def _measure(database: str, threads: int, stores: Sequence[Store], plan: Plan, say: Say) -> list[Case]:
    """Interleaved rounds, after a short one for each that is not counted."""
    cases = {store.name: Case(database, threads, store.name) for store in stores}
    numbers = Numbers()
    done = dict.fromkeys(cases, 0)
    for round_number in range(plan.rounds + 1):
        seconds = plan.seconds if round_number else min(0.5, plan.seconds)
        for store in stores:
            writers = min(threads, _FLOOR_WRITERS) if isinstance(store, Floor) else threads
            result = run_threads(store.operation, threads=writers, seconds=seconds, numbers=numbers)
            done[store.name] += result.done
            batch = _batch(store, stores)
            if round_number:
                cases[store.name].rounds.append(result)
                cases[store.name].batch.append(batch)
    for store in stores:
        if store.stored() != done[store.name]:
            raise AssertionError(f"{store.name} stored {store.stored()} events of {done[store.name]} acknowledged")
    for case in cases.values():
        median = Summary.of([each.per_second for each in case.rounds])
        say(f"{database:9} {threads:3} threads  {case.store:22} {median.median if median else 0:9,.0f} appends/s")
    return list(cases.values())


def _batch(store: Store, stores: Sequence[Store]) -> float:
    """The events of one transaction in this round; ours with views sets the floor's for the rest of the round."""
    if isinstance(store, Floor):
        return float(store.batch)
    if not isinstance(store, Ours):
        return 1.0
    mean = store.batches.mean()
    for other in stores:
        if isinstance(other, Floor) and store.name == "ours":
            other.batch = max(1, round(mean))
    return mean


@contextmanager
def _stores(database: str, server_url: str | None, notes: list[str]) -> Iterator[list[Store]]:
    """Empty stores, the floor last, as it needs to know how large the others' batches were."""
    with ExitStack() as stack:
        make = _on_postgres if database == "postgres" else _on_sqlite
        yield [stack.enter_context(closing(store)) for store in make(stack, server_url, notes)]


def _on_postgres(stack: ExitStack, server_url: str | None, notes: list[str]) -> Iterator[Store]:
    assert server_url is not None

    def fresh() -> str:
        return stack.enter_context(postgres_database(server_url))

    yield Ours(fresh(), views=True)
    yield Ours(fresh(), views=False)
    yield Library.on_postgres(fresh())
    try:
        yield message_db.MessageDb(fresh(), message_db.fetch())
    except message_db.Unavailable as error:
        note = f"message-db took no part: {error}."
        if note not in notes:
            notes.append(note)
    yield PostgresFloor(fresh())


def _on_sqlite(stack: ExitStack, _: str | None, __: list[str]) -> Iterator[Store]:
    directory: Path = stack.enter_context(sqlite_directory())
    yield Ours(f"sqlite:///{directory}/ours.db", views=True)
    yield Ours(f"sqlite:///{directory}/events.db", views=False)
    yield Library.on_sqlite(directory / "library.db")
    yield SqliteFloor(directory / "floor.db")


def assert_same_rows() -> None:
    """The floor writes the very rows that the views make of the events, or it would be no floor."""
    made = rows.event(7)
    written = writes_of(VIEWS, [NewEvent(made.stream, 1, rows.TYPE, made.body)])
    assert [(writes.table.name, writes.inserts) for writes in written] == [("orders", [rows.order_row(7)])], written
