"""The log for programs: a JSON object a line, with whose request it was."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.settings import Settings
from scripts.bootstrap import build
from scripts.logs import log_to_stderr
from tests.support.server import bearer, token

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
