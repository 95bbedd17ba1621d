"""Property-based requests, good and bad, made from the live server's own OpenAPI document: schemathesis, all checks on.

The seed is fixed, so that a run is judged by the change it tests and not by its luck; other inputs come with another
seed, or with more examples.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from ledger.storage import open_database
from projections.check import differences
from tests.support.schemathesis_hooks import REFUSED_FOR_MEANING
from tests.support.server import Server, token
from tests.support.stripe_server import WEBHOOK_SECRET

SEED = 20240229
HOOKS = Path(__file__).parents[1] / "support" / "schemathesis_hooks.py"
NEVER_ACCEPTED = ("POST /webhooks/stripe", "POST /log/cosignatures", "POST /webhook-endpoints")
"""What no document tells: how to sign, and a host that there is."""

PAID_ORDERS = range(1, 9)
"""Those which the dictionary of numbers names, so that some refunds are good."""
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "object_level_authorization",
}
CONFIG = """\
seed = {seed}
hooks = "{hooks}"
continue-on-failure = true

[cache]
enabled = false

[generation]
max-examples = {examples}
mode = "all"
database = "none"

# So that enough of the good requests mean something: products and orders that exist.
[dictionaries.numbers]
values = [1, 2, 3, 4, 5, 6, 7, 8]

[dictionaries.references]
values = ["1", "2", "8", "TEE-ORGANIC-M", "MUG-STONE-350"]

[generation.dictionaries]
integer = {{ dictionary = "numbers", probability = 0.4 }}
string = {{ dictionary = "references", probability = 0.4 }}

{auth}
"""
ONE_TOKEN = """\
[auth.openapi.bearerAuth]
bearer = "{token}"
"""
# Two customers who must not see each other's orders: schemathesis asks for those of the one as the other.
PEERS = """\
[auth.wfc]
path = "{path}"
user = "first"
peers = ["first", "second"]
"""


class Report:
    """What schemathesis did, read from its own event log."""

    def __init__(self, path: Path) -> None:
        self.scenarios: list[Mapping[str, Any]] = []
        with path.open() as lines:
            events = [json.loads(line) for line in lines]
        for event in events:
            self.scenarios.extend(finished for kind, finished in event.items() if kind == "ScenarioFinished")
        self.stopped = [event["EngineFinished"]["stop_reason"] for event in events if "EngineFinished" in event]
        self.errors = [event for event in events if "NonFatalError" in event or "FatalError" in event]

    def cases(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every generated case that was sent, with its phase."""
        for scenario in self.scenarios:
            recorder = scenario["recorder"]
            for case_id, case in recorder.get("cases", {}).items():
                if case_id in recorder.get("interactions", {}):
                    yield scenario["phase"], case["value"]

    def modes(self) -> Counter[str]:
        """How many cases were to be accepted and how many to be refused."""
        return Counter(case["meta"]["generation"]["mode"] for _, case in self.cases() if case.get("meta"))

    def phases(self) -> Counter[str]:
        """How many cases each phase sent."""
        return Counter(phase for phase, _ in self.cases())

    def checks(self) -> Counter[tuple[str, str]]:
        """How often each check came to which result."""
        return Counter(
            (check["name"], check["status"])
            for scenario in self.scenarios
            for checks in scenario["recorder"].get("checks", {}).values()
            for check in checks
        )

    def answers(self) -> Counter[tuple[str, int]]:
        """How often each operation was answered with which status."""
        return Counter(
            (scenario["recorder"]["label"], interaction["response"]["status_code"])
            for scenario in self.scenarios
            for interaction in scenario["recorder"].get("interactions", {}).values()
            if interaction["response"]
        )


def run(server: Server, directory: Path, auth: str, examples: int) -> Report:
    """Runs schemathesis against the server; fails when it finds anything."""
    config = CONFIG.format(seed=SEED, hooks=HOOKS, examples=examples, auth=auth)
    (directory / "schemathesis.toml").write_text(config)
    report = directory / "report.ndjson"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--no-color"]
    command += ["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"]
    command += ["--report", "ndjson", "--report-ndjson-path", str(report)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return Report(report)


def served(server: Server) -> int:
    """How many requests the server has counted itself."""
    page = requests.get(f"{server.url}/metrics", timeout=10).text
    return sum(int(float(count)) for count in re.findall(r"^http_requests_total\{.*\} (\S+)$", page, re.MULTILINE))


def assert_sound(server: Server) -> None:
    """No answer was the server's own failure, and log and views are what the rules say."""
    page = requests.get(f"{server.url}/metrics", timeout=10).text
    assert re.findall(r'^http_requests_total\{.*status="5.*$', page, re.MULTILINE) == []
    assert [line for line in server.log if "Traceback" in line or "ERROR" in line] == []
    database = open_database(server.environ["LEDGER_DATABASE_URL"])
    try:
        assert differences(database) == []
    finally:
        database.close()


def assert_thorough(report: Report) -> None:
    """Every phase ran to its end, with good and bad data and all checks."""
    assert report.stopped == ["completed"]
    assert report.errors == []
    assert {name for name, _ in report.checks()} >= CHECKS
    assert {status for _, status in report.checks()} <= {"success", "skip"}
    assert min(report.phases()[phase] for phase in ("examples", "coverage", "fuzzing", "stateful")) > 0
    assert min(report.modes()[mode] for mode in ("positive", "negative")) >= 100
    assert not [answer for answer in report.answers() if answer[1] >= 500]


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[Server]:
    """A server on an empty SQLite file: with the seed, it is all that the requests depend on."""
    started = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db")
    started.start(STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET)
    yield started
    started.stop()


@pytest.mark.slow
def test_an_admin_finds_nothing(fresh_server: Server, tmp_path: Path) -> None:
    for order_id in PAID_ORDERS:
        made = fresh_server.client(1).post(f"{fresh_server.url}/orders/new", json=[{"id": 8, "quantity": 100}])
        assert made.json()["id"] == order_id
        assert fresh_server.command("pay", str(order_id)).returncode == 0
    before = served(fresh_server)

    report = run(fresh_server, tmp_path, ONE_TOKEN.format(token=token(1, "admin")), examples=250)

    assert_thorough(report)
    assert sum(report.phases().values()) >= 2000
    assert served(fresh_server) - before >= 2000
    answers = report.answers()
    assert min(answers[label, 400] for label in REFUSED_FOR_MEANING) >= 10
    accepted = {label: answers[label, 200] + answers[label, 201] for label in REFUSED_FOR_MEANING}
    assert [accepted.pop(label) for label in NEVER_ACCEPTED] == [0, 0, 0]
    assert min(accepted.values()) >= 10, accepted
    assert_sound(fresh_server)


@pytest.mark.slow
def test_two_customers_find_nothing_and_not_each_other(fresh_server: Server, tmp_path: Path) -> None:
    for user in (1, 2):
        customer = fresh_server.client(user)
        for product in ("1", "2"):
            assert customer.post(f"{fresh_server.url}/orders/new", json=[product]).status_code == 201
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token(user)}"}]}
        for name, user in (("first", 1), ("second", 2))
    ]
    (tmp_path / "users.json").write_text(json.dumps({"auth": entries}))

    report = run(fresh_server, tmp_path, PEERS.format(path=tmp_path / "users.json"), examples=60)

    assert_thorough(report)
    assert report.checks()["object_level_authorization", "success"] > 0
    assert_sound(fresh_server)
