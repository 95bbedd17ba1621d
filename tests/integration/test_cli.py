"""The commands, on real databases."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.actor import Actor, Cause, Role
from ledger.settings import Settings
from ledger.statuses import Status
from scripts import cli
from scripts.bootstrap import build
from scripts.secret import with_secret
from tests.support.cli import CLI, ROOT, environ_of

STRIPE_KEY = "sk_test_planted0123456789"


class Shell:
    """Runs commands in this process against one database."""

    def __init__(self, home: Path, database_url: str) -> None:
        self.home = home
        self.environ = {"LEDGER_VAR_DIR": str(home), "LEDGER_DATABASE_URL": database_url}

    def run(self, *arguments: str, code: int = 0, **settings: str) -> Result:
        result = CliRunner().invoke(cli.main, arguments, env=self.environ | settings, prog_name="order-ledger")
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def shell(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("LEDGER_ENV", "LEDGER_DATABASE_URL", "LEDGER_VAR_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path, database_url)


@pytest.fixture
def sqlite_shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, f"sqlite:///{tmp_path}/ledger.db")


def test_the_doctor_finds_a_fresh_ledger_sound_only_after_migrate(shell: Shell) -> None:
    assert "`order-ledger migrate`" in shell.run("doctor", code=1).stdout

    assert shell.run("migrate").stderr == "The schema is up to date.\n"
    assert shell.run("migrate", "--help").exit_code == 0
    assert "log and views (0 events): sound" in shell.run("doctor").stdout


def test_the_doctor_only_looks(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "var", f"sqlite:///{tmp_path}/var/ledger.db")

    told = shell.run("doctor", code=1)

    assert "ledger.db: There is no such file yet; `order-ledger migrate` creates one." in told.stdout
    assert "there is no secret of bearer tokens yet" in told.stdout
    assert told.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_misses_an_extra_as_serve_does(sqlite_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite_shell.run("migrate")
    monkeypatch.setattr("scripts.bootstrap.find_spec", lambda _: None)
    told = sqlite_shell.run("doctor", code=1, LEDGER_RATE_LIMIT_STORE="redis://127.0.0.1:1/0").stdout
    assert "settings: LEDGER_RATE_LIMIT_STORE: this needs an extra" in told


def test_the_doctor_tells_of_a_key_that_signs_another_log(sqlite_shell: Shell) -> None:
    sqlite_shell.run("keygen", "--name", "ledger.example/1", str(sqlite_shell.home / "log.key"))
    settings = {"LEDGER_LOG_KEY": str(sqlite_shell.home / "log.key")}
    sqlite_shell.run("seed", "--orders", "1")
    sqlite_shell.run("follow", "--once", **settings)
    assert "followers and views: sound" in sqlite_shell.run("doctor", **settings).stdout
    sqlite_shell.run("seed", "--orders", "2")
    told = sqlite_shell.run("doctor", code=1, LEDGER_LOG_ORIGIN="ledger.example/2", **settings).stdout
    assert "followers and views: What was signed is the log ledger.example/1, and not ledger.example/2" in told
    assert "followers and views: The signed checkpoint is" in told, "and what else there is to tell"


def test_tables_cut_nothing_off_in_a_terminal(sqlite_shell: Shell) -> None:
    sqlite_shell.run("seed", "--orders", "1")
    added = sqlite_shell.run("webhooks", "add", "http://127.0.0.1:9/hooks", LEDGER_WEBHOOK_PRIVATE="yes").stdout
    listed, replayed = (
        in_terminal(*each, environ=sqlite_shell.environ) for each in (("webhooks", "list"), ("replay", "1"))
    )

    assert "…" not in listed + replayed
    assert added.split()[0] in listed


def in_terminal(*command: str, environ: dict[str, str]) -> str:
    """What a command shows in a terminal of 80 columns."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            (*CLI, *command), env=environ_of(**environ, COLUMNS="80"), cwd=ROOT, stdin=theirs, stdout=theirs
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # which is how a terminal ends
            while piece := os.read(ours, 65536):
                shown += piece
        assert process.wait() == 0
    finally:
        os.close(ours)
    return shown.decode()


def test_a_seeded_ledger_is_sound(shell: Shell) -> None:
    assert shell.run("seed", "--orders", "60").stderr == "60 orders were added.\n"
    assert shell.run("seed", "--orders", "1").stderr == "1 order was added.\n"
    told = shell.run("doctor", code=1).stdout  # what was dated in the past has waited since
    assert "The transparency log is" in told
    assert "`order-ledger follow`" in told
    shell.run("follow", "--once")
    assert "followers and views: sound" in shell.run("doctor").stdout


def test_seeding_twice_adds(sqlite_shell: Shell) -> None:
    sqlite_shell.run("seed", "--orders", "20")
    sqlite_shell.run("seed", "--orders", "20")

    assert json.loads(sqlite_shell.run("replay", "40", "--json").stdout)["state"]["id"] == 40


def test_the_same_seed_makes_the_same_histories(tmp_path: Path) -> None:
    def bodies(name: str, seed: str) -> list[object]:
        shell = Shell(tmp_path, f"sqlite:///{tmp_path}/{name}.db")
        shell.run("--quiet", "seed", "--orders", "15", "--seed", seed)
        return [json.loads(shell.run("replay", str(order), "--json").stdout) for order in range(1, 16)]

    first = bodies("first", "7")

    assert bodies("second", "7") == first
    assert bodies("third", "8") != first


@pytest.mark.parametrize("command", [("seed", "--orders", "1"), ("pay", "1"), ("pay", "1", "--refund")])
def test_what_the_sandbox_alone_can_do_is_refused_with_stripe(tmp_path: Path, command: tuple[str, ...]) -> None:
    shell = Shell(tmp_path, f"sqlite:///{tmp_path}/ledger.db")

    told = shell.run(*command, code=2, STRIPE_SECRET_KEY=STRIPE_KEY)

    assert told.output.count("\n") == 1
    assert f"{command[0]} works with the embedded sandbox gateway only" in told.output
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_tells_the_gateway_but_not_the_key(sqlite_shell: Shell) -> None:
    sqlite_shell.run("migrate")
    assert "payments: the embedded sandbox gateway" in sqlite_shell.run("doctor").stdout
    told = sqlite_shell.run("doctor", STRIPE_SECRET_KEY=STRIPE_KEY).stdout
    assert "payments: Stripe at https://api.stripe.com in test mode" in told
    assert STRIPE_KEY not in told


@pytest.mark.parametrize("command", [("seed", "--orders", "1"), ("pay", "1"), ("pay", "1", "--refund")])
def test_what_is_made_up_is_not_for_production(sqlite_shell: Shell, command: tuple[str, ...]) -> None:
    sqlite_shell.run("seed", "--orders", "1")
    before = sqlite_shell.run("replay", "1").stdout

    told = sqlite_shell.run(*command, code=2, LEDGER_ENV="production").stderr

    assert told.endswith("so it does not run with LEDGER_ENV=production\n")
    assert len(told.splitlines()) == 1
    assert sqlite_shell.run("replay", "1").stdout == before


def test_the_doctor_tells_what_is_wrong(tmp_path: Path, sqlite_shell: Shell) -> None:
    sqlite_shell.run("seed", "--orders", "30")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE orders SET status = 'shipped'")
    connection.close()

    told = sqlite_shell.run("doctor", code=1)

    assert "orders: row (1,)" in told.stdout
    assert "and " in told.stdout
    assert "settings: sound" in told.stdout
    assert told.stderr == ""


def test_check_finds_nothing_in_a_sound_ledger(shell: Shell) -> None:
    shell.run("seed", "--orders", "30")

    assert shell.run("check").stderr == "Nothing differs.\n"
    assert shell.run("--quiet", "check", "orders").output == ""
    told = shell.run("check", "--sample", "10", "--seed", "7")
    assert told.stderr == "The sample is that of --seed 7.\nNothing differs.\n"
    assert told.stdout == ""


def test_check_tells_what_differs_and_exits_with_1(tmp_path: Path, sqlite_shell: Shell) -> None:
    sqlite_shell.run("seed", "--orders", "30")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE orders SET user_id = 999")
    connection.close()

    told = sqlite_shell.run("check", code=1)

    assert len(told.stdout.splitlines()) == 21
    assert told.stdout.startswith("orders: row (1,): user_id 999 -> ")
    assert told.stdout.endswith("orders: and 10 more (changed)\n")
    assert told.stderr == ""
    assert sqlite_shell.run("check", "orders", code=1).stdout == told.stdout
    assert sqlite_shell.run("check", "payments").stdout == ""
    assert "orders: row (" in sqlite_shell.run("check", "--sample", "30", code=1).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ("cats",),
            1,
            "There is no view cats; there are orders, idempotency, payments, lead_boards, payment_intents, ",
        ),
        (("--seed", "1"), 2, "--seed goes with --sample."),
        (("orders", "--sample", "1"), 2, "VIEW and --sample exclude each other."),
    ],
)
def test_check_refuses_what_it_cannot_look_at(
    sqlite_shell: Shell, arguments: tuple[str, ...], code: int, told: str
) -> None:
    sqlite_shell.run("migrate")

    assert told in sqlite_shell.run("check", *arguments, code=code).stderr


def test_the_doctor_tells_of_settings_that_make_no_sense(sqlite_shell: Shell) -> None:
    told = sqlite_shell.run("doctor", code=1, LEDGER_THREADS="many")

    assert told.stdout == "settings: LEDGER_THREADS must be a whole number from 1 to 256, not 'many'\n"


@pytest.mark.postgres
def test_the_doctor_tells_of_a_database_that_is_down(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "postgresql://u:hunter2@127.0.0.1:1/x")

    told = shell.run("doctor", code=1, LEDGER_DB_TIMEOUT="0.3")

    assert "database postgresql://u:***@127.0.0.1:1/x: " in told.stdout
    assert "hunter2" not in told.output


@pytest.mark.postgres
@pytest.mark.parametrize(
    "command", [("migrate",), ("check",), ("pay", "1"), ("replay", "1"), ("seed", "--orders", "1")]
)
def test_a_database_that_is_down_is_one_line_and_exit_1(tmp_path: Path, command: tuple[str, ...]) -> None:
    shell = Shell(tmp_path, "postgresql://127.0.0.1:1/x")

    told = shell.run(*command, code=1, LEDGER_DB_TIMEOUT="0.3")

    assert len(told.output.splitlines()) == 1


def place_order(shell: Shell, *products: str, **sent: str) -> int:
    shell.run("migrate")
    settings = with_secret(Settings.from_env(shell.environ))
    with build(settings) as runtime:
        runtime.migrate()
        headers = {"Authorization": "Bearer " + shell.run("token", "--user", "5").stdout.strip()}
        answer = runtime.app().test_client().post("/orders/new", json=products or ["1", "1"], headers=headers | sent)
    assert answer.status_code == 201
    order: int = answer.get_json()["id"]
    return order


def state_of(shell: Shell, order: int, *options: str) -> dict[str, object]:
    state: dict[str, object] = json.loads(shell.run("replay", str(order), "--json", *options).stdout)["state"]
    return state


def test_an_order_is_paid_once(shell: Shell) -> None:
    order = str(place_order(shell))

    assert shell.run("pay", order).stdout == f"Order {order} is order_paid.\n"
    told = shell.run("pay", order).stdout
    assert told == f"The payment of order {order} had succeeded already; the order is order_paid.\n"
    assert state_of(shell, int(order))["version"] == 3


def move(shell: Shell, order: int, status: Status) -> None:
    with build(with_secret(Settings.from_env(shell.environ))) as runtime:
        runtime.services.ledger.change_status(order, status, actor=Actor(9, Role.STAFF), cause=Cause())


def test_pay_tells_the_status_that_the_order_has_now(sqlite_shell: Shell) -> None:
    order = place_order(sqlite_shell)
    assert sqlite_shell.run("pay", str(order)).stdout == f"Order {order} is order_paid.\n"
    move(sqlite_shell, order, Status.COMPLETED)

    told = sqlite_shell.run("pay", str(order)).stdout
    assert told == f"The payment of order {order} had succeeded already; the order is completed.\n"


def test_a_notice_that_was_lost_is_told_again(sqlite_shell: Shell) -> None:
    order = place_order(sqlite_shell)
    with build(with_secret(Settings.from_env(sqlite_shell.environ))) as runtime:
        runtime.sandbox.settle(order)

    told = sqlite_shell.run("pay", str(order)).stdout

    assert told == f"The payment of order {order} had succeeded already; the order is order_paid.\n"


def test_what_succeeded_can_not_fail_any_more(sqlite_shell: Shell) -> None:
    order = str(place_order(sqlite_shell))
    sqlite_shell.run("pay", order)

    told = sqlite_shell.run("pay", order, "--fail", code=1)

    assert told.output == f"order-ledger: The payment of order {order} succeeded already, and can't fail any more.\n"
    assert state_of(sqlite_shell, int(order))["status"] == "order_paid"


def test_nothing_is_refunded_of_what_was_not_received(sqlite_shell: Shell) -> None:
    order = str(place_order(sqlite_shell))

    told = sqlite_shell.run("pay", order, "--refund", code=1)

    assert told.output == f"order-ledger: Nothing was received for order {order}.\n"


def test_a_payment_fails_and_then_succeeds(shell: Shell) -> None:
    order = str(place_order(shell))

    assert shell.run("pay", order, "--fail").stdout == f"Order {order} is payment_failed.\n"
    assert shell.run("pay", order).stdout == f"Order {order} is order_paid.\n"
    assert "refunded" in shell.run("pay", order, "--refund").stdout


def test_replay_goes_back_by_version_and_by_time(shell: Shell) -> None:
    order = place_order(shell)
    shell.run("pay", str(order))
    history = json.loads(shell.run("replay", str(order), "--json").stdout)
    created = history["events"][0]["body"]["timestamp"]

    assert [event["type"] for event in history["events"]] == ["OrderCreated", "PaymentRecorded", "StatusChanged"]
    assert (history["state"]["status"], history["state"]["version"]) == ("order_paid", 3)
    assert state_of(shell, order, "--version", "2") == state_of(shell, order, "--version", "1") | {"version": 2}
    assert state_of(shell, order, "--version", "1")["status"] == "pending"
    assert state_of(shell, order, "--as-of", created)["status"] == "pending"
    assert state_of(shell, order, "--as-of", "2999-01-01")["status"] == "order_paid"
    assert "did not exist" in shell.run("replay", str(order), "--as-of", "2000-01-01T00:00:00+02:00").stdout


def test_replay_as_a_table(shell: Shell) -> None:
    order = place_order(shell)
    shell.run("pay", str(order))

    table = shell.run("replay", str(order)).stdout

    assert "2 pieces, 39.98 usd" in table
    assert "received 39.98 usd" in table
    assert "pending -> order_paid" in table
    assert "customer 5" in table
    assert 'status: "order_paid"' in table


def test_replay_says_why(sqlite_shell: Shell) -> None:
    order = place_order(sqlite_shell)
    with build(Settings.from_env(sqlite_shell.environ)) as runtime:
        staff, cause = Actor(90, Role.STAFF), Cause(reason="They asked by phone")
        runtime.services.ledger.change_status(order, Status.CANCELLED, actor=staff, cause=cause)
    assert '"They asked by phone"' in sqlite_shell.run("replay", str(order)).stdout


def test_replay_shows_one_piece_and_the_idempotency_key(sqlite_shell: Shell) -> None:
    order = place_order(sqlite_shell, "1", **{"Idempotency-Key": "[b]:cat:", "X-Request-Id": "trace"})

    table = sqlite_shell.run("replay", str(order)).stdout

    assert "1 piece, 19.99 usd" in table
    assert "request trace, Idempotency-Key [b]:cat:" in table


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("token", "--user", "abc"), "'--user': 'abc' is not a whole number from 1 to"),
        (("token", "--user", "1", "--ttl", "1h"), "'--ttl': '1h' is not a whole number of seconds from 1 to 31622400."),
        (("replay", "1", "--version", "x"), "'--version': 'x' is not a whole number of 1 or more."),
        (("seed", "--orders", "0"), "'--orders': '0' is not a whole number from 1 to 100000000."),
        (("serve", "--bind", "foo"), "'--bind': 'foo' is not of the form ADDRESS:PORT, such as 127.0.0.1:8000."),
    ],
)
def test_what_was_expected_is_said(sqlite_shell: Shell, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in sqlite_shell.run(*arguments, code=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("pay", "1", "--fail", "--refund"),
        ("pay", "one"),
        ("pay",),
        ("replay", "0"),
        ("replay", "1", "--as-of", "yesterday"),
        ("token",),
        ("token", "--user", "0"),
        ("token", "--user", str(2**53)),
        ("token", "--user", "1", "--role", "payments"),
        ("token", "--user", "1", "--ttl", "0"),
        ("seed",),
        ("serve", "--workers", "0"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_2(sqlite_shell: Shell, arguments: tuple[str, ...]) -> None:
    sqlite_shell.run(*arguments, code=2)


def test_a_version_that_is_not_there_is_wrong_usage(sqlite_shell: Shell) -> None:
    order = place_order(sqlite_shell)

    told = sqlite_shell.run("replay", str(order), "--version", "2", code=2).stderr

    assert f"Order {order} has no version 2 yet: it is at 1." in told


@pytest.mark.parametrize("command", [("pay", "4711"), ("replay", "4711"), ("pay", "4711", "--refund")])
def test_an_order_that_is_not_there_is_exit_1(sqlite_shell: Shell, command: tuple[str, ...]) -> None:
    sqlite_shell.run("migrate")

    assert sqlite_shell.run(*command, code=1).stderr == "order-ledger: There is no order 4711.\n"


@pytest.mark.parametrize("command", [("pay", "1"), ("replay", "1")])
def test_a_database_without_a_schema_is_one_line_that_says_what_to_do(shell: Shell, command: tuple[str, ...]) -> None:
    told = shell.run(*command, code=1).output

    assert "`order-ledger migrate` creates one" in told
    assert len(told.splitlines()) == 1


def test_quiet_leaves_results_only(sqlite_shell: Shell) -> None:
    assert sqlite_shell.run("--quiet", "migrate").output == ""
    assert sqlite_shell.run("--quiet", "doctor").output == ""
    assert sqlite_shell.run("--quiet", "token", "--user", "1").stdout.count("\n") == 1


@pytest.mark.parametrize("command", [("check",), ("verify",), ("doctor",), ("replay", "2")])
def test_an_event_that_is_nested_too_deeply_is_told(
    tmp_path: Path, sqlite_shell: Shell, command: tuple[str, ...]
) -> None:
    sqlite_shell.run("seed", "--orders", "3")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        deep = "[" * 5000 + "]" * 5000
        changed = (
            "UPDATE events SET body = substr(body, 1, length(body) - 1) || ? WHERE stream = 'order-2' AND version = 1"
        )
        connection.execute(changed, (f',"x":{deep}}}',))
    connection.close()
    told = sqlite_shell.run(*command, code=1)
    assert "nested too deeply" in told.output or "can't be read" in told.output
