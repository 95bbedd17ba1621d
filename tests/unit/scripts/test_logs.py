"""The log for programs: a JSON object a line, with whose request it was."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest

from ledger.settings import Settings
from scripts.bootstrap import build
from scripts.logs import log_to_stderr
from tests.support.server import bearer, token

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "the tests' own secret, known to everyone who reads them"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = (logging.root.handlers[:], logging.root.level)
    log_to_stderr("info", as_json=True)
    yield stream
    logging.root.handlers[:], level = before[0], before[1]
    logging.root.setLevel(level)
    logging.captureWarnings(False)


def lines(said: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.getvalue().splitlines()]


def test_a_line_is_an_object(said: io.StringIO) -> None:
    logging.getLogger("somebody").warning("%s can't\nbe \N{SNOWMAN}", "this", extra={"position": 7})

    [line] = lines(said)
    assert line["event"] == "this can't\nbe \N{SNOWMAN}"
    assert (line["logger"], line["level"], line["position"]) == ("somebody", "warning", 7)
    assert line["timestamp"].endswith("Z")
    assert line["process"] > 0
    assert "request_id" not in line


def test_nobody_else_s_text_ends_a_line_or_speaks_to_the_terminal(said: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a \u2028 line \x9b31m", stacklevel=1)

    assert said.getvalue().isascii()
    [line] = lines(said)
    assert "a \u2028 line \x9b31m" in line["event"]


def test_failures_have_their_tracebacks(said: io.StringIO) -> None:
    try:
        int("nobody thought of this")
    except ValueError:
        logging.getLogger("somebody").exception("it failed")

    [line] = lines(said)
    assert line["event"] == "it failed"
    assert "nobody thought of this" in line["exception"]


def test_a_request_s_lines_say_whose_it_is(said: io.StringIO) -> None:
    environ = {"LEDGER_DATABASE_URL": "sqlite:///:memory:", "LEDGER_JWT_SECRET": SECRET}
    with build(Settings.from_env(environ)) as runtime:
        runtime.migrate()
        client = runtime.app().test_client()
        client.post("/orders/new", json=["1"], headers=bearer(1))
        asked = {**bearer(92, "auditor"), "X-Request-Id": "trace-me"}
        client.get("/orders/1/history?secret=s3cret", headers=asked)

    [read] = [line for line in lines(said) if line["logger"] == "ledger.audit"]
    assert (read["event"], read["method"], read["path"]) == ("audit_read", "GET", "/orders/1/history")
    assert (read["request_id"], read["user"], read["role"], read["order"]) == ("trace-me", 92, "auditor", 1)
    assert token(92, "auditor") not in said.getvalue()


def give_commands() -> None:
    environ = {"LEDGER_DATABASE_URL": "sqlite:///:memory:", "LEDGER_JWT_SECRET": SECRET}
    with build(Settings.from_env(environ)) as runtime:
        runtime.migrate()
        client = runtime.app().test_client()
        keyed = {**bearer(1), "Idempotency-Key": "k", "X-Request-Id": "first", "traceparent": TRACEPARENT}
        client.post("/orders/new", json=["1"], headers=keyed)
        client.post("/orders/new", json=["1"], headers={**keyed, "X-Request-Id": "again"})
        client.put("/leads/statuses/order", json={"id": 4, "statusOrder": 1}, headers=bearer(1))
        for status in ("cancelled", "cancelled", "shipped"):
            client.post("/orders/status-update", json={"orderId": 1, "status": status}, headers=bearer(2, "staff"))
        client.post("/orders/status-update", json={"orderId": 9, "status": "shipped"}, headers=bearer(3))


def test_a_line_for_each_command(said: io.StringIO) -> None:
    give_commands()

    told = [line for line in lines(said) if line["logger"] == "ledger.commands"]
    assert [
        (line["event"], line["outcome"], line.get("order"), line.get("position"), line["user"]) for line in told
    ] == [
        ("create_order", "recorded", 1, 1, 1),
        ("create_order", "repeated", 1, None, 1),
        ("arrange_leads", "recorded", None, 2, 1),
        ("change_status", "recorded", 1, 3, 2),
        ("change_status", "unchanged", 1, None, 2),
        ("change_status", "illegal-move", 1, None, 2),
        ("change_status", "unknown-order", 9, None, 3),
    ]
    assert [line["request_id"] for line in told[:2]] == ["first", "again"]
    placed = told[0]
    assert (placed["version"], placed["role"]) == (1, "customer")
    assert (placed["level"], placed["path"], placed["trace_id"]) == ("info", "/orders/new", TRACEPARENT[3:35])
    assert 0 < placed["duration_seconds"] < 60


def test_a_line_for_each_command_in_a_terminal(said: io.StringIO) -> None:
    with redirect_stderr(said):
        log_to_stderr("info", as_json=False)
    give_commands()

    [line] = [line for line in said.getvalue().splitlines() if "outcome=recorded order=1 version=1" in line]
    assert re.search(
        r"\[INFO\] ledger\.commands: create_order outcome=recorded order=1 version=1 position=1 user=1 ", line
    )
    assert " request_id=first " in line


def test_commands_are_not_logged_where_only_warnings_are(said: io.StringIO) -> None:
    with redirect_stderr(said):
        log_to_stderr("warning", as_json=True)
    give_commands()

    assert said.getvalue() == ""


@pytest.mark.parametrize(
    ("environ", "as_json"),
    [
        ({}, False),
        ({"LEDGER_ENV": "production"}, True),
        ({"LEDGER_ENV": "production", "LEDGER_LOG_FORMAT": "text"}, False),
        ({"LEDGER_LOG_FORMAT": "json"}, True),
    ],
)
def test_production_logs_for_programs(environ: dict[str, str], as_json: bool) -> None:
    assert Settings.from_env(environ).logs_json is as_json
