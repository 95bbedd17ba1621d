"""``verify``: every way to change a log is found, in the database and in an exported file, and no honest thing is."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ledger.storage import open_database
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.leaf import event_leaf
from ledger.transparency.lines import decode_line, encode_line
from ledger.transparency.merkle import CompactRange
from tests.integration.test_export import Ledger
from tests.support.busy import EVENTS, log_key, make_busy
from tests.support.storages import opened_store

KEY, FORMER, STRANGER = log_key(), log_key(seed=2), log_key(seed=3)
ORIGIN = KEY.name
OLD = 4
"""The size of the checkpoint that the auditor has kept: after the orders were placed."""


@dataclass
class Audited:
    """A ledger that is followed and was exported, and what its auditor holds: the key and an older checkpoint."""

    ledger: Ledger
    file: Path
    older: Path

    def verify(self, *options: object, code: int = 0) -> Result:
        return self.ledger.run("verify", "--key", KEY.verifier, *options, code=code)

    def verify_file(self, *options: object, code: int = 0) -> Result:
        return self.verify("--export", self.file, *options, code=code)

    def plant(self, statement: str, *parameters: object) -> None:
        database = open_database(self.ledger.url)
        with database.write() as cursor:
            cursor.execute(statement, parameters)
        database.close()

    def lines(self) -> list[str]:
        return self.file.read_text().splitlines(keepends=True)

    def write(self, lines: list[str]) -> None:
        self.file.write_text("".join(lines), newline="\n")

    def sign(self, *keys: Any, size: int | None = None) -> None:
        """Puts a checkpoint of the file's own root beside it, with these signatures."""
        note = checkpoint_of(self.lines()[:size]).signed(keys)
        self.file.with_name(f"{self.file.name}.checkpoint").write_text(str(note))


def checkpoint_of(lines: list[str]) -> Checkpoint:
    compact = CompactRange()
    compact.extend([event_leaf(decode_line(line)) for line in lines])
    return Checkpoint(ORIGIN, len(lines), compact.root())


def audited(tmp_path: Path, url: str) -> Audited:
    with opened_store(url) as store:
        make_busy(store)
    ledger = Ledger(tmp_path, url)
    ledger.environ["LEDGER_LOG_KEY"] = KEY.secret_text
    ledger.run("follow", "--once")
    whole = Audited(ledger, tmp_path / "log.jsonl", tmp_path / "older.checkpoint")
    ledger.run("export", whole.file)
    whole.older.write_text(str(checkpoint_of(whole.lines()[:OLD]).signed([KEY])))
    return whole


@pytest.fixture
def on_each(tmp_path: Path, database_url: str) -> Audited:
    return audited(tmp_path, database_url)


@pytest.fixture
def sound(tmp_path: Path) -> Audited:
    return audited(tmp_path, f"sqlite:///{tmp_path}/ledger.db")


def test_a_sound_log_is_sound_and_its_state_is_the_same_from_everywhere(on_each: Audited) -> None:
    from_database = on_each.verify("--checkpoint", on_each.older).stdout
    from_file = on_each.verify_file("--checkpoint", on_each.older).stdout

    assert from_database == from_file
    assert re.fullmatch(
        rf"events: {EVENTS}\nroot: [\w+/]{{43}}=\norders: 4, state [0-9a-f]{{64}}\nsound\n", from_database
    )


def test_without_a_key_the_database_vouches_for_itself(sound: Audited) -> None:
    told = sound.ledger.run("verify").stdout

    assert "the keys are those that the database itself lists" in told
    assert told.endswith("sound\n")


def test_a_compressed_export_is_verified_too(sound: Audited) -> None:
    file = sound.file.with_name("log.gz")
    sound.ledger.run("export", file)

    assert sound.verify("--export", file).stdout.endswith("sound\n")
    file.write_bytes(gzip.compress(b"{}"))
    assert "line 1 is cut off" in sound.verify("--export", file, code=1).stderr


def test_orders_that_were_served_otherwise_are_found_by_whoever_replays_the_log(sound: Audited) -> None:
    serve_otherwise(sound)

    told = sound.verify_file("--checkpoint", sound.older, code=1).stdout
    assert told.splitlines()[0].endswith("the orders that were served then are not those that the log comes to")
    assert sound.verify(code=1).stdout.startswith(told.splitlines()[0])


def serve_otherwise(ledger: Audited) -> None:
    """For a while the API shows another order than was placed; then all is exported."""
    change = "UPDATE orders SET document = replace(document, '{0}', '{1}') WHERE order_id = 2"
    ledger.plant(change.format("Organic", "Orgamic"))
    ledger.plant("DELETE FROM log_attested")
    ledger.ledger.run("seed", "--orders", "1")
    ledger.ledger.run("follow", "--once")
    ledger.plant(change.format("Orgamic", "Organic"))
    ledger.ledger.run("export", ledger.file)


# --- What is changed in the database -----------------------------------------------------------------------------


DATABASE_CASES: dict[str, tuple[list[str], str]] = {
    "one byte of a body": (
        ["UPDATE events SET body = replace(body, 'Organic', 'Orgamic') WHERE position = 2"],
        "position 2 (order-2 version 1): this is not the event that was logged here",
    ),
    "a timestamp": (
        ["UPDATE events SET body = replace(body, '00:00:09', '00:00:39') WHERE position = 9"],
        "position 9 (order-1 version 6): this is not the event that was logged here",
    ),
    "a type": (
        ["UPDATE events SET type = 'PaymentRecorded' WHERE position = 8"],
        "position 8 (order-1 version 5): this is not the event that was logged here",
    ),
    "two events swapped": (
        [
            "UPDATE events SET position = -1 WHERE position = 2",
            "UPDATE events SET position = 2 WHERE position = 3",
            "UPDATE events SET position = 3 WHERE position = -1",
        ],
        "position 2 (order-3 version 1): this is not the event that was logged here",
    ),
    "the last dropped": (
        [f"DELETE FROM events WHERE position = {EVENTS}"],
        f"the log has {EVENTS - 1} events, and {EVENTS} were logged",
    ),
    "one dropped in the middle": (
        ["DELETE FROM events WHERE position = 6"],
        "position 6: missing; 7 follows on 5",
    ),
    "one inserted": (
        [
            "UPDATE events SET position = -position WHERE position > 8",
            "UPDATE events SET position = 1 - position WHERE position < 0",
            "INSERT INTO events SELECT 9, stream, 9, type, body FROM events WHERE position = 8",
        ],
        "position 9 (order-1 version 9): this is not the event that was logged here",
    ),
    "the root beside a checkpoint": (
        ["UPDATE log_checkpoints SET root = (SELECT hashes FROM log_tiles WHERE level = 0)"],
        f"stored checkpoint of {EVENTS}: it is not of that size and root",
    ),
    "the orders that are served": (
        ["UPDATE orders SET status = 'shipped' WHERE order_id = 4"],
        "the orders that are served have state",
    ),
    "a stored leaf": (
        ["UPDATE log_tiles SET hashes = (SELECT hashes FROM log_tree) WHERE level = 0"],
        "tile 0 of level 0 is not that of a tree of 16 events",
    ),
    "the state of the tree": (["UPDATE log_tree SET size = 15"], "the state of the tree: 1 hashes are no tree of 15"),
    "a state of another tree": (
        ["UPDATE log_tree SET hashes = (SELECT substr(hashes, 1, 32) FROM log_tiles WHERE level = 0)"],
        "the state of the tree is not that of its tiles",
    ),
    "a checkpoint that is none": (
        ["UPDATE log_checkpoints SET note = 'nonsense'"],
        "stored checkpoint of 16: The note has no signatures at its end",
    ),
    "the checkpoints gone": (["DELETE FROM log_checkpoints"], "there is no checkpoint, and a key was given"),
    "the tiles gone": (["DELETE FROM log_tiles"], "tile 0 of level 0 is missing"),
    "a checkpoint": (
        ["UPDATE log_checkpoints SET note = replace(note, '16', '15')"],
        "stored checkpoint of 16: The signature of log.example/orders",
    ),
}


@pytest.mark.parametrize("case", DATABASE_CASES)
def test_what_is_changed_in_the_database_is_found_and_named(on_each: Audited, case: str) -> None:
    statements, finding = DATABASE_CASES[case]
    for statement in statements:
        on_each.plant(statement)

    told = on_each.verify(code=1).stdout

    assert f"wrong: {finding}" in told
    assert told.endswith("not sound\n")


def test_what_is_not_even_text_is_named(sound: Audited) -> None:
    sound.plant("UPDATE events SET stream = CAST(stream AS BLOB) WHERE position = 4")
    sound.plant("UPDATE events SET body = CAST(body AS BLOB) WHERE position = 7")

    told = sound.verify(code=1).stdout

    assert "wrong: position 4: its stream, type or body is not text" in told
    assert "wrong: position 7 (order-1 version 4): this is not the event that was logged here" in told


def test_a_checkpoint_that_is_none_among_others_is_named(sound: Audited) -> None:
    sound.ledger.run("seed", "--orders", "1")
    sound.ledger.run("follow", "--once")
    sound.plant("UPDATE log_checkpoints SET note = 'nonsense' WHERE size = 16")

    assert "wrong: stored checkpoint of 16: The note has no signatures" in sound.verify(code=1).stdout


def test_of_very_many_faults_the_rest_are_counted(sound: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    sound.write([line.replace("recordedAt", "recordedat") for line in sound.lines()])
    monkeypatch.setattr("projections.audit.MAX_FAULTS", 10)

    told = sound.verify_file(code=1).stdout.splitlines()

    assert told[:11] == [*told[:10], "wrong: and 7 more"]  # 16 lines, and a checkpoint of 16 events
    assert all(line.startswith("wrong: line ") for line in told[:10])


def forget_the_tree(audited: Audited, *keys: Any) -> None:
    """What somebody does who can write to the database: has all that follows made again, over what is there now."""
    for table in ("log_tiles", "log_tree", "log_checkpoints", "log_keys", "order_search", "order_periods"):
        audited.plant(f"DELETE FROM {table}")
    audited.plant("UPDATE followed SET position = 0")
    audited.ledger.run("follow", "--once", LEDGER_LOG_KEY=",".join(key.secret_text for key in keys))


def test_a_tree_that_was_made_again_over_a_changed_log_fails_the_older_checkpoint(on_each: Audited) -> None:
    on_each.plant("UPDATE events SET body = replace(body, 'r-2', 'r-9') WHERE position = 2")
    forget_the_tree(on_each, KEY)

    assert on_each.verify().stdout.endswith("sound\n"), "who has the key can sign anything: so checkpoints are kept"
    told = on_each.verify("--checkpoint", on_each.older, code=1).stdout

    assert f"wrong: checkpoint of {OLD}: its root is another: an event was changed, added or removed" in told
    assert f"wrong: the log was forked: the checkpoints of {OLD} and {EVENTS} were both signed" in told


def test_a_database_that_was_set_back_fails_the_later_checkpoint(on_each: Audited) -> None:
    on_each.plant(f"DELETE FROM events WHERE position > {OLD}")
    for statement in ("DELETE FROM idempotency WHERE version > 1", "DELETE FROM payments", "DELETE FROM lead_boards"):
        on_each.plant(statement)
    on_each.plant("UPDATE orders SET status = 'pending', version = 1")
    forget_the_tree(on_each, KEY)
    later = on_each.file.with_name("log.jsonl.checkpoint")

    assert on_each.verify().stdout.endswith("sound\n")
    told = on_each.verify("--checkpoint", later, code=1).stdout

    assert f"wrong: the log ends at {OLD}, and a checkpoint of {EVENTS} was signed: events are missing" in told


def test_a_log_that_was_signed_anew_with_another_key_fails(on_each: Audited) -> None:
    on_each.plant("UPDATE events SET body = replace(body, 'r-2', 'r-9') WHERE position = 2")
    forget_the_tree(on_each, STRANGER)

    told = on_each.verify(code=1).stdout

    assert f"wrong: stored checkpoint of {EVENTS}: None of the given keys has signed the note." in told


# --- What is changed in an exported file -------------------------------------------------------------------------


def edited(line: str, **members: object) -> str:
    return encode_line(decode_line(line)._replace(**members))


def rewritten(line: str, old: str, new: str) -> str:
    event = decode_line(line)
    assert old in event.body
    return encode_line(event._replace(body=event.body.replace(old, new)))


def inserted(lines: list[str]) -> list[str]:
    later = [edited(line, position=decode_line(line).position + 1) for line in lines[8:]]
    return [*lines[:8], edited(lines[7], position=9, version=5), *later]


ROOT_IS_ANOTHER = f"wrong: checkpoint of {EVENTS}: its root is another"
FILE_CASES: dict[str, tuple[Callable[[list[str]], list[str]], list[str]]] = {
    "one byte of a body": (
        lambda lines: [lines[0], rewritten(lines[1], "Organic", "Orgamic"), *lines[2:]],
        ["between positions 1 and 4", ROOT_IS_ANOTHER],
    ),
    "a timestamp": (
        lambda lines: [*lines[:8], rewritten(lines[8], "00:00:09", "00:00:39"), *lines[9:]],
        ["between positions 5 and 16"],
    ),
    "a timestamp outside the body": (
        lambda lines: [*lines[:8], lines[8].replace('recordedAt":"2026', 'recordedAt":"2027'), *lines[9:]],
        ["line 9: Its recordedAt is not the timestamp of its body."],
    ),
    "two events swapped": (
        lambda lines: [lines[0], edited(lines[2], position=2), edited(lines[1], position=3), *lines[3:]],
        ["between positions 1 and 4", ROOT_IS_ANOTHER],
    ),
    "two lines swapped": (
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        ["position 2: missing; 3 follows on 1", "position 2: stands behind position 3"],
    ),
    "the last dropped": (
        lambda lines: lines[:-1],
        [f"the log ends at {EVENTS - 1}, and a checkpoint of {EVENTS} was signed"],
    ),
    "one dropped in the middle": (lambda lines: lines[:5] + lines[6:], ["position 6: missing; 7 follows on 5"]),
    "one inserted": (inserted, ["position 9", ROOT_IS_ANOTHER]),
    "an illegal move": (
        lambda lines: [*lines[:7], rewritten(lines[7], '"shipped"', '"declined"'), *lines[8:]],
        ["position 8 (order-1 version 5): no order may move from order_paid to declined"],
    ),
}


@pytest.mark.parametrize("case", FILE_CASES)
def test_what_is_changed_in_a_file_is_found_and_placed(sound: Audited, case: str) -> None:
    change, findings = FILE_CASES[case]
    sound.write(change(sound.lines()))

    told = sound.verify_file("--checkpoint", sound.older, code=1).stdout

    for finding in findings:
        assert finding in told
    assert told.endswith("not sound\n")


def test_a_changed_file_that_was_signed_anew_with_another_key_fails(sound: Audited) -> None:
    sound.write([rewritten(sound.lines()[0], "Organic", "Orgamic"), *sound.lines()[1:]])
    sound.sign(STRANGER)

    assert "None of the given keys has signed the note." in sound.verify_file(code=1).stdout


def test_a_file_that_was_cut_off_to_an_older_checkpoint_fails_the_later_one(sound: Audited) -> None:
    later = sound.file.with_name("later")
    sound.file.with_name("log.jsonl.checkpoint").rename(later)
    sound.write(sound.lines()[:OLD])
    sound.sign(KEY)

    assert sound.verify_file().stdout.endswith("sound\n")
    told = sound.verify_file("--checkpoint", later, code=1).stdout
    assert f"the log ends at {OLD}, and a checkpoint of {EVENTS} was signed: events are missing" in told


def test_a_fork_that_the_log_itself_has_signed_is_proven_against_it(sound: Audited) -> None:
    lines = sound.lines()
    sound.write([lines[0], rewritten(lines[1], "Organic", "Orgamic"), *lines[2:]])
    sound.sign(KEY)

    assert sound.verify_file().stdout.endswith("sound\n")
    told = sound.verify_file("--checkpoint", sound.older, code=1).stdout
    assert f"the log was forked: the checkpoints of {OLD} and {EVENTS} were both signed, and are of two logs" in told


def test_events_after_the_checkpoint_are_named_as_not_proven(sound: Audited) -> None:
    sound.sign(KEY, size=10)

    assert f"note: events 11 to {EVENTS} are in no checkpoint: nothing proves them" in sound.verify_file().stdout


def test_a_file_without_a_checkpoint_proves_nothing(sound: Audited) -> None:
    sound.file.with_name("log.jsonl.checkpoint").unlink()

    assert "nothing is signed" in sound.verify_file(code=1).stdout
    assert "are in no checkpoint" in sound.verify_file("--checkpoint", sound.older).stdout


def test_a_checkpoint_of_another_log_is_refused(sound: Audited) -> None:
    other = Checkpoint("log.example/other", OLD, checkpoint_of(sound.lines()[:OLD]).root)
    sound.older.write_text(str(other.signed([KEY])))

    told = sound.verify_file("--checkpoint", sound.older, code=1).stdout
    assert "The checkpoint is of log.example/orders, not of log.example/other." in told


# --- What honest software does -----------------------------------------------------------------------------------


def test_keys_are_rotated_and_everything_still_verifies(sound: Audited) -> None:
    keys = f"{KEY.secret_text},{FORMER.secret_text}"
    sound.ledger.run("seed", "--orders", "1")
    sound.ledger.run("follow", "--once", LEDGER_LOG_KEY=keys)
    sound.ledger.run("seed", "--orders", "1")
    sound.ledger.run("follow", "--once", LEDGER_LOG_KEY=FORMER.secret_text)
    sound.ledger.run("export", sound.file)

    both = sound.file.with_name("keys")
    both.write_text(f"{KEY.verifier}\n{FORMER.verifier}\n")
    assert sound.ledger.run("verify", "--key", both, "--checkpoint", sound.older).stdout.endswith("sound\n")
    new = sound.ledger.run("verify", "--key", FORMER.verifier).stdout
    assert "1 stored checkpoints are of keys that were not given" in new
    assert sound.ledger.run("verify", "--export", sound.file, "--key", FORMER.verifier).stdout.endswith("sound\n")


def test_views_and_trees_are_made_again_and_everything_still_verifies(on_each: Audited) -> None:
    for table in ("orders", "log_tiles", "log_tree"):
        on_each.plant(f"DROP TABLE {table}")
    on_each.ledger.run("migrate")
    on_each.ledger.run("follow", "--once")

    assert on_each.verify("--checkpoint", on_each.older).stdout.endswith("sound\n")


def test_an_imported_log_verifies_against_the_old_checkpoints(sound: Audited, tmp_path: Path) -> None:
    restored = Ledger(tmp_path, f"sqlite:///{tmp_path}/restored.db")
    restored.run("import", sound.file)
    restored.run("seed", "--orders", "2")
    restored.run("follow", "--once", LEDGER_LOG_KEY=KEY.secret_text)

    arguments = ("--key", KEY.verifier, "--checkpoint", sound.older, "--checkpoint", f"{sound.file}.checkpoint")
    assert restored.run("verify", *arguments).stdout.endswith("sound\n")


def test_a_ledger_that_nobody_has_followed_yet_is_not_called_changed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, f"sqlite:///{tmp_path}/ledger.db")
    ledger.run("migrate")

    assert ledger.run("verify").stdout.startswith("events: 0\n")
    ledger.run("seed", "--orders", "1")
    told = ledger.run("verify").stdout
    assert "are in no checkpoint: nothing proves them" in told
    assert told.endswith("sound\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--export", "FILE"], "--export needs the --key"),
        (["--key", "nonsense"], "'nonsense' is neither a verifier key nor a file of them."),
        (["--checkpoint", "nowhere"], "does not exist"),
    ],
)
def test_wrong_usage(sound: Audited, options: list[str], told: str) -> None:
    given = [str(sound.file) if each == "FILE" else each for each in options]

    assert told in sound.ledger.run("verify", *given, code=2).stderr


def test_quiet_leaves_what_is_wrong(sound: Audited) -> None:
    assert sound.ledger.run("--quiet", "verify", "--key", KEY.verifier).output == ""
    sound.plant("DELETE FROM events WHERE position = 6")
    assert all(line.startswith("wrong: ") for line in sound.ledger.run("--quiet", "verify", code=1).stdout.splitlines())
