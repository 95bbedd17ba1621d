"""Parquet exports, read by what analysts read them with."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.leads import LeadMove
from ledger.statuses import Status
from projections import columnar
from projections.live import LiveViews
from projections.orders import as_object
from projections.store import VIEWS
from scripts import cli
from scripts.parquet_files import Arrow, write_events, write_orders
from tests.support.storages import CUSTOMER, PAYMENTS, STAFF, Store, opened_store


def export(url: str, home: Path, directory: Path, *, code: int = 0) -> Result:
    environ = {"LEDGER_VAR_DIR": str(home), "LEDGER_DATABASE_URL": url}
    result = CliRunner().invoke(cli.main, ("export", "--parquet", str(directory)), env=environ)
    assert result.exit_code == code, result.output
    return result


def seed(url: str, home: Path, orders: int) -> None:
    environ = {"LEDGER_VAR_DIR": str(home), "LEDGER_DATABASE_URL": url}
    assert CliRunner().invoke(cli.main, ("seed", "--orders", str(orders)), env=environ).exit_code == 0


def rows(directory: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table, as pyarrow reads them."""
    found: list[dict[str, Any]] = pyarrow.dataset.dataset(directory / table, partitioning="hive").to_table().to_pylist()
    return found


def events_of(store: Store) -> list[tuple[Any, ...]]:
    with store.database.read() as cursor:
        return cursor.execute("SELECT position, stream, version, type, body FROM events ORDER BY position")


def test_every_event_is_there_to_the_byte(database_url: str, tmp_path: Path) -> None:
    seed(database_url, tmp_path, 200)
    assert export(database_url, tmp_path, tmp_path / "out").stderr.endswith(f"200 orders are in {tmp_path}/out.\n")
    found = sorted(rows(tmp_path / "out", "events"), key=lambda row: int(row["position"]))
    with opened_store(database_url) as store:
        stored = events_of(store)
    assert [tuple(row[name] for name in ("position", "stream", "version", "type", "body")) for row in found] == stored
    for row in found:
        body = json.loads(row["body"])
        assert row["timestamp"] == datetime.fromisoformat(body["timestamp"])
        assert row["month"] == body["timestamp"][:7]
        assert (row["actor_user"], row["actor_role"]) == (body["actor"]["user"], body["actor"]["role"])
        assert row["order_id"] == int(row["stream"].removeprefix("order-"))


def test_every_order_is_there_as_the_view_has_it_and_without_its_secret(database_url: str, tmp_path: Path) -> None:
    with opened_store(database_url) as store:
        for number in range(3):
            store.ledger.create_order([CartItem("1", number + 1), CartItem("3")], actor=CUSTOMER, cause=Cause())
        store.ledger.record_payment(store.gateway.settle(2), actor=PAYMENTS, cause=Cause())
        store.ledger.refund_order(2, 500, actor=STAFF, cause=Cause(idempotency_key="k", request_hash="h"))
        store.ledger.arrange_leads([LeadMove(1, 4)], actor=CUSTOMER, cause=Cause())
        with store.database.read() as cursor:
            wanted = [as_object(row) for row in cursor.execute("SELECT * FROM orders ORDER BY order_id")]
    export(database_url, tmp_path, tmp_path / "out")
    found = sorted(rows(tmp_path / "out", "orders"), key=lambda row: int(row["order_id"]))
    for row, order in zip(found, wanted, strict=True):
        assert (row["order_id"], row["user_id"], row["status"]) == (order["id"], order["userId"], order["status"])
        assert (row["version"], row["amount_in_cents"]) == (order["version"], order["amountInCents"])
        assert row["created"] == datetime.fromisoformat(order["date"]).astimezone(UTC)
        lines = [{**line, "price_in_cents": line["priceInCents"]} for line in order["products"]]
        assert [{**line, "priceInCents": line["price_in_cents"]} for line in row["products"]] == lines
    assert [(row["received_in_cents"], row["refunded_in_cents"]) for row in found] == [(0, 0), (4893, 500), (0, 0)]
    (board,) = [row for row in rows(tmp_path / "out", "events") if row["stream"] == "leads-1"]
    assert board["order_id"] is None
    for path in (tmp_path / "out").rglob("*.parquet"):
        assert b"_secret_" not in path.read_bytes()


def test_duckdb_reads_months_as_a_column_and_all_columns_typed(tmp_path: Path) -> None:
    url, out = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    seed(url, tmp_path, 200)
    with opened_store(url) as store, store.database.write() as cursor:
        cursor.execute("UPDATE orders SET document = replace(document, '2025-01-', '2025-02-') WHERE order_id > 150")
    export(url, tmp_path, out)
    files = f"read_parquet('{out}/orders/*/*.parquet', hive_partitioning = true)"
    months = duckdb.sql(f"SELECT month, count(*), sum(len(products)) > 0 FROM {files} GROUP BY month ORDER BY month")
    found = months.fetchall()
    assert found == [("2025-01", 150, True), ("2025-02", 50, True)]
    types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {files})").fetchall())
    assert types["created"] == "TIMESTAMP WITH TIME ZONE"
    assert types["amount_in_cents"] == types["version"] == "BIGINT"
    head = duckdb.sql(f"SELECT max(position) FROM read_parquet('{out}/events/*/*.parquet')").fetchall()[0][0]
    (file, *_) = (out / "events").rglob("*.parquet")
    assert pyarrow.parquet.read_schema(file).metadata[b"order_ledger.head"] == str(head).encode()


def test_an_event_that_cannot_be_read_is_there_all_the_same(tmp_path: Path) -> None:
    url, out = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    with opened_store(url) as store:
        for _ in range(3):
            store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        with store.database.write() as cursor:
            cursor.execute("UPDATE events SET body = '[]' WHERE position = 2")
    export(url, tmp_path, out)
    files = f"read_parquet('{out}/events/*/*.parquet', hive_partitioning = true)"
    query = f"SELECT position, timestamp, month, order_id, body FROM {files} WHERE month IS NULL"
    assert duckdb.sql(query).fetchall() == [(2, None, None, 2, "[]")]
    assert [row["position"] for row in rows(out, "events") if row["month"] is None] == [2]


def test_months_that_come_again_get_files_of_their_own(tmp_path: Path) -> None:
    url, out = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    with opened_store(url) as store:
        for _ in range(24):
            store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        with store.database.write() as cursor:
            for position in range(1, 25):
                month = f'{{"timestamp":"2026-{position % 12 + 1:02}-'
                cursor.execute("UPDATE events SET body = ? || substr(body, 23) WHERE position = ?", (month, position))
    export(url, tmp_path, out)
    assert sorted(row["position"] for row in rows(out, "events")) == list(range(1, 25))
    assert {path.name for path in (out / "events").rglob("*.parquet")} == {"part-0.parquet", "part-1.parquet"}


def test_what_is_committed_meanwhile_is_in_no_part_of_it(database_url: str, tmp_path: Path) -> None:
    with opened_store(database_url) as store:
        for _ in range(3):
            store.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        arrow = Arrow()
        with LiveViews(store.database, VIEWS).snapshot() as (cursor, live):
            assert columnar.head(cursor) == 3
            with opened_store(database_url) as other:
                other.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
                other.ledger.change_status(1, Status.DECLINED, actor=STAFF, cause=Cause())
            assert sum(write_events(arrow, cursor, tmp_path)) == 3
            assert sum(write_orders(arrow, cursor, live, tmp_path)) == 3
    assert len(rows(tmp_path, "events")) == 3
    assert [row["status"] for row in rows(tmp_path, "orders")] == ["pending"] * 3


@pytest.mark.parametrize("taken", ["file", "full"])
def test_what_is_there_already_is_left_alone(tmp_path: Path, taken: str) -> None:
    url, out = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out"
    seed(url, tmp_path, 1)
    kept = out if taken == "file" else out / "kept"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    told = export(url, tmp_path, out, code=2).stderr
    assert told == f"order-ledger: {out} is there already; name a new directory, or an empty one\n"
    assert kept.read_text() == "mine"


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    seed(url, tmp_path, 5)
    with opened_store(url) as store, store.database.write() as cursor:
        cursor.execute("DROP TABLE orders")
    before = sorted(tmp_path.iterdir())
    assert "A view is missing" in export(url, tmp_path, tmp_path / "out", code=1).stderr
    assert sorted(tmp_path.iterdir()) == before


def test_without_the_extra_it_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = export(f"sqlite:///{tmp_path}/ledger.db", tmp_path, tmp_path / "out", code=2).stderr
    assert told.startswith("order-ledger: --parquet needs the parquet extra (order-ledger[parquet]): ")
    assert len(told.splitlines()) == 1
