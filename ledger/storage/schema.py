"""The write side's tables: the log, the payment intents, the counter of order ids and what is reserved of it; and the
transparency log's, which a follower writes (projections/transparency.py); and who is told of orders, with the queue of
what they are told (projections/webhooks/).

``events`` is append-only: nothing in this project updates or deletes a row of it. ``position`` is contiguous from 1.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from ledger.errors import SettingsError
from ledger.storage.database import Cursor, Dialect
from ledger.storage.log import ANY_GENERATION, PAYMENT_INTENTS

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    position bigint PRIMARY KEY,
    stream text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    body text NOT NULL,
    UNIQUE (stream, version));
CREATE TABLE IF NOT EXISTS sandbox_settlements (
    intent_id text PRIMARY KEY,
    status text NOT NULL,
    amount_received bigint NOT NULL,
    amount_refunded bigint NOT NULL);
CREATE TABLE IF NOT EXISTS order_reservations (
    digest text PRIMARY KEY,
    order_id bigint NOT NULL,
    gateway_key text NOT NULL,
    reserved_at text NOT NULL);
CREATE TABLE IF NOT EXISTS sandbox_refunds (
    refund_key text PRIMARY KEY,
    refund_id text NOT NULL,
    intent_id text NOT NULL,
    amount bigint NOT NULL);
CREATE TABLE IF NOT EXISTS log_tree (
    id bigint PRIMARY KEY,
    size bigint NOT NULL,
    hashes bytea NOT NULL);
CREATE TABLE IF NOT EXISTS log_attested (
    id bigint PRIMARY KEY,
    size bigint NOT NULL,
    orders bigint NOT NULL,
    sums bytea NOT NULL);
CREATE TABLE IF NOT EXISTS log_tiles (
    level bigint NOT NULL,
    tile bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (level, tile));
CREATE TABLE IF NOT EXISTS log_checkpoints (
    size bigint PRIMARY KEY,
    root bytea NOT NULL,
    note text NOT NULL,
    signed_at text NOT NULL);
CREATE TABLE IF NOT EXISTS log_cosignatures (
    size bigint NOT NULL,
    witness text NOT NULL,
    signed_text text NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (size, witness));
CREATE TABLE IF NOT EXISTS log_keys (
    verifier text PRIMARY KEY,
    first_size bigint NOT NULL,
    first_used_at text NOT NULL);
CREATE TABLE IF NOT EXISTS checks (
    subject text PRIMARY KEY,
    checked_at text NOT NULL,
    head bigint NOT NULL,
    findings bigint NOT NULL);
CREATE TABLE IF NOT EXISTS webhook_endpoints (
    id text PRIMARY KEY,
    url text NOT NULL,
    secret text NOT NULL,
    former_secret text NOT NULL,
    former_until text NOT NULL,
    types text NOT NULL,
    position bigint NOT NULL,
    disabled text NOT NULL,
    delivered bigint NOT NULL,
    created_at text NOT NULL);
CREATE TABLE IF NOT EXISTS webhook_deliveries (
    endpoint text NOT NULL,
    position bigint NOT NULL,
    stream text NOT NULL,
    attempts bigint NOT NULL,
    next_at text NOT NULL,
    dead bigint NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (endpoint, position));
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_stream ON webhook_deliveries (endpoint, stream, position);
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_time ON webhook_deliveries (endpoint, dead, next_at, position);
CREATE TABLE IF NOT EXISTS ledger_identity (id text NOT NULL);
CREATE TABLE IF NOT EXISTS ledger_schema (version bigint NOT NULL);
CREATE TABLE IF NOT EXISTS view_set (generation bigint NOT NULL);
"""

WRITERS_LOCK = 0x6C65_6467_6572  # "ledger"; advisory locks are per database
"""Held until the transaction ends by everyone who draws a position, so that positions commit in order."""

VIEWS_MOVED = "LG001"
"""The SQLSTATE of an append whose rows were made for other views than those in force."""

_LEDGER_HEAD = f"""
CREATE OR REPLACE FUNCTION ledger_head(expected bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE head bigint;
BEGIN
    PERFORM pg_advisory_xact_lock({WRITERS_LOCK});
    SELECT (SELECT coalesce(max(position), 0) FROM events) INTO head
        FROM view_set WHERE generation = expected OR expected = {ANY_GENERATION};
    IF head IS NULL THEN
        RAISE EXCEPTION 'other views are in force' USING ERRCODE = '{VIEWS_MOVED}';
    END IF;
    RETURN head;
END $$
"""

_ORDER_IDS = {
    "postgres": "CREATE SEQUENCE IF NOT EXISTS order_ids",
    "sqlite": "CREATE TABLE IF NOT EXISTS order_ids (last integer NOT NULL)",
}

_HIGHEST_ORDER_ID = (
    "(SELECT max(order_id) FROM (SELECT max(order_id) AS order_id FROM payment_intents"
    " UNION ALL SELECT max(order_id) FROM order_reservations) AS given)"
)
_ORDER_IDS_BEHIND = {
    "postgres": f"SELECT setval('order_ids', {_HIGHEST_ORDER_ID})"
    f" FROM order_ids WHERE last_value < {_HIGHEST_ORDER_ID}",
    "sqlite": f"UPDATE order_ids SET last = {_HIGHEST_ORDER_ID} WHERE last < {_HIGHEST_ORDER_ID}",
}
"""Moves the counter past every order there is or may come: it may have been restored from elsewhere than the orders."""


def create_schema(cursor: Cursor, dialect: Dialect, new_id: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
    """Creates what is missing; run inside ``write``, so that two who start at once take turns."""
    if dialect == "postgres":
        encoding = cursor.execute("SHOW server_encoding")[0][0]
        if encoding != "UTF8":
            raise SettingsError(
                f"the database must be encoded in UTF8, so that bodies keep their bytes, not {encoding}"
            )
        cursor.execute("DROP FUNCTION IF EXISTS ledger_head()")  # a former release's, which did not look at the views
        cursor.execute(_LEDGER_HEAD)
    for statement in [*_TABLES.split(";")[:-1], *PAYMENT_INTENTS.ddl()]:
        cursor.execute(for_dialect(statement, dialect))
    cursor.execute(_ORDER_IDS[dialect])
    if dialect == "sqlite":
        cursor.execute("INSERT INTO order_ids SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM order_ids)")
    advance_order_ids(cursor, dialect)
    cursor.execute("INSERT INTO view_set SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM view_set)")
    cursor.execute(
        "INSERT INTO ledger_identity SELECT CAST(? AS text) WHERE NOT EXISTS (SELECT 1 FROM ledger_identity)",
        (new_id(),),
    )
    cursor.execute(
        "INSERT INTO ledger_schema SELECT ? WHERE NOT EXISTS (SELECT 1 FROM ledger_schema)", (SCHEMA_VERSION,)
    )


def advance_order_ids(cursor: Cursor, dialect: Dialect) -> None:
    """Moves the counter of order ids past every order there is; run inside ``write``."""
    cursor.execute(_ORDER_IDS_BEHIND[dialect])


def exists(cursor: Cursor, dialect: Dialect, table: str) -> bool:
    """Whether the database has this table."""
    queries = {
        "sqlite": "SELECT 1 FROM sqlite_master WHERE name = ?",
        "postgres": "SELECT 1 FROM pg_class WHERE oid = to_regclass(?)",
    }
    return bool(cursor.execute(queries[dialect], (table,)))


def schema_version(cursor: Cursor) -> int:
    """The version of the schema in the database; 0, which no release has, when it is not noted."""
    rows = cursor.execute("SELECT version FROM ledger_schema")
    return int(rows[0][0]) if rows else 0


def for_dialect(ddl: str, dialect: Dialect) -> str:
    """DDL as the database wants it: text compared by bytes; positions that are SQLite's own row ids, and blobs."""
    if dialect == "postgres":
        return ddl.replace(" text ", ' text COLLATE "C" ')
    return ddl.replace(" bigint ", " integer ").replace(" bytea ", " blob ")
