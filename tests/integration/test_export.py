"""``export``, ``import``, ``keygen`` and ``follow``, on real databases."""

from __future__ import annotations

import gzip
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.storage import open_database
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from ledger.transparency.checkpoints import open_checkpoint
from ledger.transparency.keys import VerifierKey
from ledger.transparency.lines import encode_line
from projections.check import differences
from scripts import cli
from tests.support.busy import EVENTS, make_busy
from tests.support.storages import STAFF, opened_store

ORIGIN = "log.example/orders"


class Ledger:
    """A ledger with its own database, and the commands run on it."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self.environ = {"LEDGER_VAR_DIR": str(home), "LEDGER_DATABASE_URL": url, "LEDGER_LOG_ORIGIN": ORIGIN}

    def run(self, *arguments: object, code: int = 0, **settings: str) -> Result:
        given = [str(argument) for argument in arguments]
        result = CliRunner().invoke(cli.main, given, env=self.environ | settings, prog_name="order-ledger")
        assert result.exit_code == code, result.output
        return result

    def log(self) -> list[RecordedEvent]:
        database = open_database(self.url)
        with database.snapshot() as cursor:
            events = list(read_log(cursor))
        database.close()
        return events

    def key(self, name: str = "log.key") -> VerifierKey:
        """Makes a key, and signs with it from now on."""
        printed = self.run("keygen", self.home / name).stdout.strip()
        self.environ["LEDGER_LOG_KEY"] = str(self.home / name)
        return VerifierKey.parse(printed)


@pytest.fixture
def busy(tmp_path: Path, database_url: str) -> Ledger:
    with opened_store(database_url) as store:
        make_busy(store)
    return Ledger(tmp_path, database_url)


@pytest.fixture
def sqlite_busy(tmp_path: Path) -> Ledger:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with opened_store(url) as store:
        make_busy(store)
    return Ledger(tmp_path, url)


@pytest.fixture
def empty(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path, f"sqlite:///{tmp_path}/empty.db")


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_an_export_has_every_event_to_the_byte(busy: Ledger, name: str) -> None:
    file = busy.home / name
    key = busy.key()
    busy.run("follow", "--once")

    assert f"{EVENTS} events were exported" in busy.run("export", file).stderr

    text = (gzip.decompress(file.read_bytes()) if name.endswith("gz") else file.read_bytes()).decode()
    events = busy.log()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [tuple(line.values())[:5] for line in lines] == events
    assert [line["recordedAt"] for line in lines] == [json.loads(event.body)["timestamp"] for event in events]
    assert set(map(tuple, lines)) == {("position", "stream", "version", "type", "body", "recordedAt")}
    note = (busy.home / f"{name}.checkpoint").read_bytes()
    assert open_checkpoint(note, [key], origin=ORIGIN).size == EVENTS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(busy.home.glob(".*"))


def test_an_export_to_stdout_is_the_same(sqlite_busy: Ledger) -> None:
    sqlite_busy.run("export", sqlite_busy.home / "log.jsonl")

    assert sqlite_busy.run("export", "-").stdout_bytes == (sqlite_busy.home / "log.jsonl").read_bytes()


def test_the_same_log_makes_the_same_bytes(sqlite_busy: Ledger) -> None:
    files = [sqlite_busy.home / name for name in ("a.gz", "b.gz")]
    for file in files:
        sqlite_busy.run("export", file)

    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (sqlite_busy.home / "a.gz.checkpoint").exists()


def test_an_export_that_can_not_be_written_leaves_nothing(sqlite_busy: Ledger) -> None:
    told = sqlite_busy.run("export", sqlite_busy.home / "nowhere" / "log.jsonl", code=1)

    assert "can't be written: No such file or directory." in told.stderr


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_an_import_restores_positions_bytes_views_and_the_counter(
    sqlite_busy: Ledger, tmp_path: Path, database_url: str, name: str
) -> None:
    source, file = sqlite_busy, tmp_path / name
    source.key()
    source.run("follow", "--once")
    source.run("export", file)
    target_url = f"sqlite:///{tmp_path}/target.db" if database_url.startswith("sqlite") else database_url
    target = Ledger(tmp_path, target_url)

    assert f"{EVENTS} events were imported" in target.run("import", file).stderr

    assert target.log() == source.log()
    with opened_store(target_url) as store:
        assert differences(store.database) == []
        assert list(store.database.next_order_ids()) == [5]
        detail = store.orders.detail(1, STAFF)
        assert detail is not None
        assert json.loads(detail.body)["status"] == "completed"
    target.run("export", tmp_path / "again.jsonl")
    source.run("export", tmp_path / "first.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()


def test_an_imported_log_continues_the_old_checkpoints(sqlite_busy: Ledger, empty: Ledger) -> None:
    key = sqlite_busy.key()
    sqlite_busy.run("follow", "--once")
    file = sqlite_busy.home / "log.jsonl"
    sqlite_busy.run("export", file)
    older = open_checkpoint((sqlite_busy.home / "log.jsonl.checkpoint").read_bytes(), [key])

    empty.environ["LEDGER_LOG_KEY"] = sqlite_busy.environ["LEDGER_LOG_KEY"]
    empty.run("import", file)
    empty.run("follow", "--once")
    empty.run("export", sqlite_busy.home / "again.jsonl")

    newer = open_checkpoint((sqlite_busy.home / "again.jsonl.checkpoint").read_bytes(), [key])
    assert newer == older


def test_an_import_is_for_an_empty_ledger(sqlite_busy: Ledger) -> None:
    file = sqlite_busy.home / "log.jsonl"
    sqlite_busy.run("export", file)

    told = sqlite_busy.run("import", file, code=1).stderr

    assert told == "order-ledger: The ledger is not empty: there are rows in events.\n"


def lines_of(ledger: Ledger) -> list[str]:
    return [encode_line(event) for event in ledger.log()]


WHOLE_FILES: dict[str, Callable[[list[str]], list[str]]] = {
    "gap": lambda lines: lines[:2] + lines[3:],
    "late start": lambda lines: lines[1:],
    "swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "twice": lambda lines: [*lines[:3], *lines[2:]],
    "not json": lambda lines: [*lines[:2], "{\n", *lines[3:]],
    "two in one": lambda lines: [*lines[:2], lines[2].rstrip() + lines[3], *lines[4:]],
    "cut off": lambda lines: [*lines[:2], lines[2][:-10]],
}
THIRD_LINES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "further member": lambda line: line | {"more": 1},
    "version": lambda line: line | {"version": 2},
    "unknown type": lambda line: line | {"type": "OrderEaten"},
    "text position": lambda line: line | {"position": "3"},
    "number": lambda line: line | {"stream": 3},
    "body": lambda line: line | {"body": "[]", "recordedAt": None},
    "stream": lambda line: line | {"stream": "order\n3"},
    "time": lambda line: line | {"recordedAt": "2020-01-01T00:00:00.000000Z"},
    "duplicate key": lambda line: line | {"body": line["body"].replace('"k3"', '"k1"')},
}


def spoil(lines: list[str], how: str) -> list[str]:
    """The lines of a log with one thing wrong."""
    if how in WHOLE_FILES:
        return WHOLE_FILES[how](lines)
    return [*lines[:2], json.dumps(THIRD_LINES[how](json.loads(lines[2]))) + "\n", *lines[3:]]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("gap", "Position 3: missing; 4 follows on 2."),
        ("late start", "Position 1: missing; 2 follows on 0."),
        ("swapped", "Position 2: missing; 3 follows on 1."),
        ("twice", "Position 3: stands behind position 3."),
        ("not json", "line 3: The line is not JSON."),
        ("two in one", "line 3: The line goes on after its object."),
        ("cut off", "line 3 is cut off."),
        ("further member", "line 3: The line is not an object of position, stream"),
        ("version", "Position 3: version 2 of order-3, where version 1 comes next."),
        ("unknown type", "Position 3: this release knows no event type 'OrderEaten'."),
        ("text position", "line 3: Its position or version is not a number from 1."),
        ("body", "is not what its type says"),
        ("number", "line 3: Its stream, type or body is not a string."),
        ("stream", "Position 3: a line feed in the name of its stream or type."),
        ("time", "line 3: Its recordedAt is not the timestamp of its body."),
        ("duplicate key", "is not what its type says"),
    ],
)
def test_what_is_not_a_whole_log_is_refused_and_leaves_nothing(
    sqlite_busy: Ledger, empty: Ledger, how: str, told: str
) -> None:
    file = sqlite_busy.home / "spoilt.jsonl"
    file.write_text("".join(spoil(lines_of(sqlite_busy), how)), newline="\n")

    said = empty.run("import", file, code=1).stderr

    assert told in said
    assert empty.log() == []
    file.write_text("".join(lines_of(sqlite_busy)), newline="\n")
    empty.run("import", file)
    assert empty.log() == sqlite_busy.log()


def test_an_import_of_many_batches_is_all_or_nothing(tmp_path: Path, database_url: str) -> None:
    source = Ledger(tmp_path, f"sqlite:///{tmp_path}/source.db")
    source.run("seed", "--orders", "700", "--users", "5")
    lines = lines_of(source)
    assert len(lines) > 2000
    file = tmp_path / "log.jsonl"
    file.write_text("".join([*lines[:-1], lines[-1].replace('"position":', '"position":1')]), newline="\n")
    target = Ledger(tmp_path, database_url)

    target.run("import", file, code=1)
    assert target.log() == []
    file.write_text("".join(lines), newline="\n")
    target.run("import", file)

    assert target.log() == source.log()
    target.run("follow", "--once")
    assert "sound" in target.run("doctor").stdout


def test_a_compressed_file_that_is_cut_off_is_refused(sqlite_busy: Ledger, empty: Ledger) -> None:
    file = sqlite_busy.home / "log.gz"
    sqlite_busy.run("export", file)
    file.write_bytes(file.read_bytes()[:-20])

    assert "can't be read after line" in empty.run("import", file, code=1).stderr
    assert empty.log() == []


@pytest.mark.parametrize("how", ["shorter", "other"])
def test_a_log_that_does_not_lead_to_its_checkpoint_is_refused(sqlite_busy: Ledger, empty: Ledger, how: str) -> None:
    file = sqlite_busy.home / "log.jsonl"
    sqlite_busy.key()
    sqlite_busy.run("follow", "--once")
    sqlite_busy.run("export", file)
    lines = file.read_text().splitlines(keepends=True)
    if how == "other":
        lines[0] = lines[0].replace("shirt", "skirt").replace("Shirt", "Skirt")
    file.write_text("".join(lines if how == "other" else lines[:-1]))

    said = empty.run("import", file, code=1).stderr

    expected = {"shorter": f"ends at {EVENTS - 1}; its checkpoint is of {EVENTS}", "other": "its root is another"}
    assert expected[how] in said
    assert empty.log() == []


def test_keygen_keeps_the_key_to_its_owner_and_never_writes_over_one(empty: Ledger) -> None:
    file = empty.home / "k"
    key = VerifierKey.parse(empty.run("keygen", file, "--name", "log.example/other").stdout.strip())

    assert key.name == "log.example/other"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    assert "never written over" in empty.run("keygen", file, code=2).stderr
    assert file.read_text() == before
    assert "must not be empty" in empty.run("keygen", empty.home / "l", "--name", "a b", code=2).stderr
    assert "--name" in empty.run("keygen", empty.home / "l", code=2, LEDGER_LOG_ORIGIN="").stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"LEDGER_LOG_KEY": "PRIVATE+KEY+x"}, "LEDGER_LOG_KEY: "),
        ({"LEDGER_LOG_KEY": "/nowhere/key"}, "LEDGER_LOG_KEY: the file that it names can't be read: No such file"),
        ({"LEDGER_LOG_ORIGIN": "a b"}, "LEDGER_LOG_ORIGIN: "),
    ],
)
def test_keys_that_can_not_be_used_are_told_of(sqlite_busy: Ledger, settings: dict[str, str], told: str) -> None:
    said = sqlite_busy.run("follow", "--once", code=2, **settings).stderr

    assert told in said
    assert len(said.splitlines()) == 1


def test_a_key_that_others_can_read_is_not_used(sqlite_busy: Ledger) -> None:
    sqlite_busy.key()
    Path(sqlite_busy.environ["LEDGER_LOG_KEY"]).chmod(0o644)

    assert "may be read by its owner only" in sqlite_busy.run("follow", "--once", code=2).stderr


def test_two_keys_sign_while_they_are_rotated(sqlite_busy: Ledger) -> None:
    old, new = sqlite_busy.key("old"), sqlite_busy.key("new")
    both = f"{sqlite_busy.home}/old, {sqlite_busy.home}/new"

    told = sqlite_busy.run("follow", "--once", LEDGER_LOG_KEY=both).stderr

    assert told == f"The tree has {EVENTS} events; the latest checkpoint covers {EVENTS}.\n"
    sqlite_busy.run("export", sqlite_busy.home / "log.jsonl")
    note = (sqlite_busy.home / "log.jsonl.checkpoint").read_bytes()
    assert open_checkpoint(note, [old]) == open_checkpoint(note, [new])
