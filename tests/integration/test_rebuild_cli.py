"""``order-ledger rebuild``: on real databases, in this process and as one that is interrupted."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
from click.testing import CliRunner, Result

from scripts import cli
from tests.support.cli import CLI, ROOT, environ_of
from tests.support.rebuilds import VIEW_OF, fill, rows_of
from tests.support.storages import Store, opened_store


class Shell:
    """Runs commands in this process against one database."""

    def __init__(self, home: Path, url: str) -> None:
        self.environ = {"LEDGER_VAR_DIR": str(home), "LEDGER_DATABASE_URL": url}

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli.main, arguments, env=self.environ, prog_name="order-ledger")
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


@pytest.fixture
def filled(database_url: str) -> Store:
    with opened_store(database_url) as store:
        fill(store, 12)
    return store


def poison(url: str) -> None:
    with opened_store(url) as store, store.database.write() as cursor:
        cursor.execute("INSERT INTO events SELECT max(position) + 1, 'order-1', 99, 'StatusChanged', '{' FROM events")


@pytest.mark.usefixtures("filled")
def test_all_views_are_rebuilt_one_after_the_other(shell: Shell, database_url: str) -> None:
    with opened_store(database_url) as store, store.database.write() as cursor:
        for view in VIEW_OF.values():
            cursor.execute(f"DELETE FROM {view.table.name}")
    told = shell.run("rebuild")
    assert told.stdout == ""
    for name in VIEW_OF:
        assert f"{name}: rebuilt and in force, up to event " in told.stderr
    shell.run("follow", "--once")
    assert ": sound" in shell.run("doctor").stdout


@pytest.mark.usefixtures("filled")
def test_one_view_quietly_or_as_json(shell: Shell) -> None:
    assert shell.run("--quiet", "rebuild", "orders").output == ""
    told = shell.run("rebuild", "orders", "--json")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    phases = ["starting", "copying", "indexing", "clearing", "catching up", "swapping", "done"]
    assert [line["phase"] for line in lines] == phases
    assert all(line["view"] == "orders" for line in lines)
    assert lines[-1]["done"] == lines[-1]["head"] > 12


@pytest.mark.usefixtures("filled")
def test_the_way_back(shell: Shell) -> None:
    assert "There is no former table of orders" in shell.run("rebuild", "orders", "--rollback", code=1).stderr
    shell.run("rebuild", "orders")
    assert "orders: the former table is back, up to event" in shell.run("rebuild", "orders", "--rollback").stderr
    shell.run("follow", "--once")
    assert ": sound" in shell.run("doctor").stdout


@pytest.mark.parametrize(
    "arguments", [("--rollback",), ("customers",), ("orders", "--rollback", "--skip-poison", "file"), ("orders", "x")]
)
def test_wrong_usage(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.run("rebuild", *arguments, code=2)


@pytest.mark.usefixtures("filled")
def test_poison_stops_it_or_is_set_aside_in_a_file(shell: Shell, database_url: str, tmp_path: Path) -> None:
    poison(database_url)
    told = shell.run("rebuild", "orders", code=1)
    assert "order-ledger: orders: the event at position " in told.stderr
    assert "(StatusChanged, order-1 version 99) can't be taken in" in told.stderr
    file = tmp_path / "poison.jsonl"
    told = shell.run("rebuild", "orders", "--skip-poison", str(file), code=1)
    assert "rebuilt and in force" in told.stderr
    assert f"1 events could not be taken in: they are in {file}." in told.stderr
    [line] = file.read_text().splitlines()
    kept = json.loads(line)
    assert (kept["stream"], kept["version"], kept["type"], kept["body"]) == ("order-1", 99, "StatusChanged", "{")
    assert kept.keys() == {"position", "stream", "version", "type", "body", "error"}
    told = shell.run("rebuild", "orders", "--skip-poison", str(tmp_path / "not" / "there"), code=1)
    assert "can't be written" in told.stderr


def test_there_has_to_be_a_ledger(shell: Shell) -> None:
    assert "`order-ledger migrate` creates one" in shell.run("rebuild", code=1).stderr


def test_an_empty_ledger_has_views_to_be_rebuilt_too(shell: Shell) -> None:
    shell.run("migrate")
    shell.run("rebuild")
    shell.run("follow", "--once")
    assert ": sound" in shell.run("doctor").stdout


@pytest.mark.usefixtures("filled")
def test_a_second_one_is_told_so(shell: Shell, database_url: str) -> None:
    with opened_store(database_url) as store, store.database.bulk("rebuild of orders"):
        assert "Another rebuild of orders is running" in shell.run("rebuild", "orders", code=1).stderr


@pytest.mark.usefixtures("filled")
def test_interrupted_while_it_waits(shell: Shell, database_url: str) -> None:
    """Ctrl-C ends it at once, with the live view as it was; here while the lock that the swap needs is held."""
    with opened_store(database_url) as store:
        before = rows_of(store)
        with store.database.write() as cursor, started(shell, "rebuild", "orders", "--json", stdout=PIPE) as process:
            cursor.execute("SELECT 1")
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["phase"] == "starting"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) in {1, 130}
        assert rows_of(store) == before
    shell.run("rebuild", "orders")
    shell.run("follow", "--once")
    assert ": sound" in shell.run("doctor").stdout


@pytest.mark.usefixtures("filled")
def test_a_bar_on_a_terminal(shell: Shell) -> None:
    parent, child = pty.openpty()
    with started(shell, "rebuild", "orders", stderr=child) as process:
        assert process.wait(60) == 0
    os.close(child)
    drawn = b""
    with suppress(OSError):  # how a terminal ends whose other end is closed
        while piece := os.read(parent, 65536):
            drawn += piece
    os.close(parent)
    assert b"orders: rebuilt and in force" in drawn


def started(shell: Shell, *arguments: str, **streams: int) -> subprocess.Popen[str]:
    environ = environ_of(**shell.environ)
    # Whoever runs the tests in the background has SIGINT ignored, and programs inherit that.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(  # type: ignore[call-overload]
        (*CLI, *arguments),
        cwd=ROOT,
        env=environ,
        text=True,
        preexec_fn=heard,  # noqa: PLW1509  no thread is started here
        **streams,
    )


@pytest.mark.usefixtures("filled")
def test_migrate_says_what_is_to_be_rebuilt(shell: Shell, database_url: str) -> None:
    with opened_store(database_url) as store, store.database.write() as cursor:
        cursor.execute("DROP TABLE payments")
    told = shell.run("migrate")
    assert "payments: copying" in told.stderr
    assert told.stderr.endswith("The schema is up to date.\n")


@pytest.mark.usefixtures("filled")
def test_the_view_of_the_search_is_made_again(shell: Shell, database_url: str) -> None:
    shell.run("follow", "--once")
    with opened_store(database_url) as store, store.database.write() as cursor:
        cursor.execute("UPDATE order_search SET status = 'lost'")
        cursor.execute("UPDATE order_periods SET orders = 7")
    assert "order_search: row (1,): status 'lost'" in shell.run("check", "order_search", code=1).stdout
    assert "order_search: rebuilt and in force, up to event" in shell.run("rebuild", "order_search").stderr
    assert json.loads(shell.run("rebuild", "order_search", "--json").stdout.splitlines()[-1])["phase"] == "done"
    shell.run("check")


@pytest.mark.parametrize("option", [("--rollback",), ("--workers", "2"), ("--skip-poison", "x")])
def test_what_a_view_that_follows_does_not_take(shell: Shell, option: tuple[str, ...]) -> None:
    assert "order_search follows the log" in shell.run("rebuild", "order_search", *option, code=2).stderr
