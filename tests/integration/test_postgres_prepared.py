"""Prepared statements over libpq: what they send arrives, what they can't send is refused, and nothing is cut short."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from ledger.errors import StorageUnavailable
from ledger.storage.postgres import PostgresDatabase
from ledger.storage.postgres_prepared import MAX_PREPARED, Bigints, PreparedConnection, Texts
from tests.support.postgres import temporary_server
from tests.support.shop import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture
def connection(postgres_url: str) -> Iterator[PreparedConnection]:
    with PreparedConnection.connect(postgres_url, autocommit=True) as opened:
        yield opened


def test_values_arrive_as_they_were_sent(connection: PreparedConnection) -> None:
    text = "Crème ☕ ' \" \\ {} $1 \n %s"
    (row,) = connection.run("SELECT ?::bigint, ?::text, ?::bigint[], ?::text[]", (-5, text, *arrays(text)))

    assert row == (-5, text, [-(2**63), 0, 2**63 - 1], ["", text, "NULL"])


def arrays(text: str) -> tuple[Bigints, Texts]:
    return Bigints((-(2**63), 0, 2**63 - 1)), Texts(("", text, "NULL"))


def test_a_statement_without_rows_answers_none(connection: PreparedConnection) -> None:
    assert connection.run("SELECT 1 WHERE ?::bigint = 2", (1,)) == []
    assert connection.run("SET application_name = 'tests'") == []


@pytest.mark.parametrize("value", ["a\0b", "\0", Texts(("a\0b",))])
def test_nul_is_refused_and_not_the_end_of_a_text(connection: PreparedConnection, value: object) -> None:
    with pytest.raises(psycopg.DataError):
        connection.run(f"SELECT ?::text{'[]' * isinstance(value, Texts)}", (value,))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, Bigints((2**63,))])
def test_what_is_no_bigint_is_refused(connection: PreparedConnection, value: object) -> None:
    with pytest.raises(psycopg.DataError):
        connection.run(f"SELECT ?::bigint{'[]' * isinstance(value, Bigints)}", (value,))


@pytest.mark.parametrize("value", [None, 1.5, b"bytes"])
def test_other_types_are_refused(connection: PreparedConnection, value: object) -> None:
    with pytest.raises(TypeError):
        connection.run("SELECT ?::text", (value,))


def test_errors_are_psycopgs_and_leave_the_connection_usable(connection: PreparedConnection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.run("SELECT 1 / ?::bigint", (0,))
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.run("SELEKT 1")

    assert connection.info.transaction_status == TransactionStatus.IDLE
    assert connection.run("SELECT 1 / ?::bigint", (1,)) == [(1,)]


def test_more_statements_than_are_kept_still_run(connection: PreparedConnection) -> None:
    for number in range(MAX_PREPARED + 3):
        assert connection.run(f"SELECT {number} + ?::bigint", (1,)) == [(number + 1,)]

    assert connection.run("SELECT count(*) FROM pg_prepared_statements") == [(MAX_PREPARED,)]


def test_a_server_that_was_killed_is_an_outage_for_every_idle_connection() -> None:
    with temporary_server() as server:
        database = PostgresDatabase(server.get_uri(), pool_size=4, timeout=5)
        with ExitStack() as held:
            for _ in range(4):
                held.enter_context(database.read()).execute("SELECT 1")
        with psycopg.connect(server.get_uri(), autocommit=True) as other:
            pids = other.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchall()
            own = other.info.backend_pid
        os.kill(next(pid for (pid,) in pids if pid != own), signal.SIGKILL)
        wait_until(lambda: not any(psutil.pid_exists(pid) for (pid,) in pids), "that the server has ended all of them")

        told = []
        deadline = time.monotonic() + 30
        while not told or told[-1] != "answered":
            assert time.monotonic() < deadline
            try:
                with database.read() as cursor:
                    cursor.execute("SELECT 1")
                told.append("answered")
            except StorageUnavailable:
                told.append("unavailable")
        assert "unavailable" in told
        database.close()


def test_a_connection_that_the_server_ends_is_told_from_a_statement_that_fails(connection: PreparedConnection) -> None:
    with pytest.raises(psycopg.OperationalError):
        connection.run("SELECT pg_terminate_backend(pg_backend_pid())")
    assert connection.broken
    with pytest.raises(psycopg.OperationalError):
        connection.run("SELECT 1")
