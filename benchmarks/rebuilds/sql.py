"""The order view made by the database alone, from the bodies as JSON: what nothing outside of it beats by much."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from time import perf_counter

import psycopg

from ledger.storage.schema import for_dialect
from ledger.storage.tables import Table
from projections.orders import ORDERS

NAME = "SQL alone"
_MADE = Table("orders_by_sql", ORDERS.columns, ORDERS.key_size, ORDERS.indexes)

# OFFSET 0 keeps the planner from decoding a body once for each mention of it.
_POSTGRES = """
INSERT INTO orders_by_sql
SELECT (made.body->>'order_id')::bigint, (made.body->>'user_id')::bigint,
       coalesce(last.body->>'order_status', last.body->>'status', 'pending'), newest.version,
       '{"id":' || (made.body->>'order_id') || ',"userId":' || (made.body->>'user_id')
       || ',"date":' || (made.body->'timestamp')::text || ',"products":[' || (
           SELECT string_agg('{"id":' || (line->>'product_id') || ',"name":' || (line->'name')::text
                             || ',"quantity":' || (line->>'quantity')
                             || ',"priceInCents":' || (line->>'price_in_cents') || '}', ',')
           FROM jsonb_array_elements(made.body->'lines') AS lines (line)
       ) || '],"amountInCents":' || (made.body->>'amount_in_cents')
FROM (SELECT stream, body::jsonb FROM events WHERE type = 'OrderCreated' OFFSET 0) AS made
JOIN (SELECT stream, max(version) AS version FROM events
      WHERE type IN ('OrderCreated', 'StatusChanged', 'PaymentRecorded') GROUP BY stream) AS newest USING (stream)
JOIN events USING (stream, version),
LATERAL (SELECT events.body::jsonb OFFSET 0) AS last
"""

_SQLITE = """
INSERT INTO orders_by_sql
SELECT made.body->>'order_id', made.body->>'user_id',
       coalesce(last.body->>'order_status', last.body->>'status', 'pending'), last.version,
       '{"id":' || (made.body->>'order_id') || ',"userId":' || (made.body->>'user_id')
       || ',"date":' || (made.body->'timestamp') || ',"products":[' || (
           SELECT group_concat('{"id":' || (value->>'product_id') || ',"name":' || (value->'name')
                               || ',"quantity":' || (value->>'quantity')
                               || ',"priceInCents":' || (value->>'price_in_cents') || '}', ',')
           FROM json_each(made.body, '$.lines')
       ) || '],"amountInCents":' || (made.body->>'amount_in_cents')
FROM events AS made
JOIN (SELECT stream, max(version) AS version, body FROM events
      WHERE type IN ('OrderCreated', 'StatusChanged', 'PaymentRecorded') GROUP BY stream) AS last USING (stream)
WHERE made.type = 'OrderCreated'
"""


def on_postgres(url: str) -> float:
    """Makes the view's rows and indexes beside the view; returns the seconds it took. The rows must be the view's."""
    table, *indexes = [for_dialect(statement, "postgres") for statement in _MADE.ddl()]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS orders_by_sql")
        connection.execute("SET work_mem = '256MB'")
        started = perf_counter()
        with connection.transaction():
            for statement in (table, _POSTGRES, *indexes, "ANALYZE orders_by_sql"):
                connection.execute(statement.encode())
        seconds = perf_counter() - started
        assert connection.execute(_differences("EXCEPT ALL").encode()).fetchall() == [(0,)], (
            "other rows than the view's"
        )
        connection.execute("DROP TABLE orders_by_sql")
    return seconds


def on_sqlite(url: str) -> float:
    """The same in SQLite, which builds the primary key as it goes."""
    table, *indexes = [for_dialect(statement, "sqlite") for statement in _MADE.ddl()]
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("DROP TABLE IF EXISTS orders_by_sql")
        started = perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        for statement in (table, _SQLITE, *indexes):
            connection.execute(statement)
        connection.execute("COMMIT")
        seconds = perf_counter() - started
        assert connection.execute(_differences("EXCEPT")).fetchall() == [(0,)], "other rows than the view's"
        connection.execute("DROP TABLE orders_by_sql")
    return seconds


def _differences(operator: str) -> str:
    """How many rows are in one table only; both have keys, so rows are counted once."""
    one, other = "SELECT * FROM orders", "SELECT * FROM orders_by_sql"
    return (
        f"SELECT (SELECT count(*) FROM (SELECT * FROM ({one}) AS a {operator} {other}) AS x)"
        f" + (SELECT count(*) FROM (SELECT * FROM ({other}) AS b {operator} {one}) AS y)"
    )
