"""The single-file verifier: it stands alone, and agrees with ``verify`` on good files and bad ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.transparency.keys import VerifierKey
from tests.integration.test_verify import FILE_CASES, KEY, STRANGER, Audited, audited, serve_otherwise
from tests.support.cli import ROOT

VERIFIER = ROOT / "scripts" / "verify_export.py"


@pytest.fixture
def sound(tmp_path: Path) -> Audited:
    return audited(tmp_path, f"sqlite:///{tmp_path}/ledger.db")


def alone(file: Path, *options: object, key: VerifierKey | Path = KEY.verifier, code: int = 0) -> str:
    """Runs it as an auditor would: its text alone, in a directory of its own, where nothing of the project is found."""
    done = run_alone(file, "--key", key, *options)
    assert done.returncode == code, done.stderr
    return done.stdout


def run_alone(file: Path, *options: object) -> subprocess.CompletedProcess[str]:
    copy = file.parent / "elsewhere" / "verify_export.py"
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(VERIFIER.read_bytes())
    command = [sys.executable, "-I", copy, file, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy.parent)


def test_it_imports_nothing_but_cryptography() -> None:
    names = set()
    for node in ast.walk(ast.parse(VERIFIER.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])

    assert names - set(sys.stdlib_module_names) == {"cryptography"}


def test_it_agrees_on_a_sound_file(sound: Audited) -> None:
    assert alone(sound.file) == sound.verify_file().stdout
    assert alone(sound.file, "--checkpoint", sound.older) == sound.verify_file("--checkpoint", sound.older).stdout
    compressed = sound.file.with_name("log.gz")
    sound.ledger.run("export", compressed)
    assert alone(compressed) == sound.verify_file().stdout


def test_the_key_may_be_in_a_file_and_has_to_be_one(sound: Audited, tmp_path: Path) -> None:
    (tmp_path / "log.pub").write_text(f"{KEY.verifier}\n")
    assert alone(sound.file, key=tmp_path / "log.pub") == sound.verify_file().stdout
    for wrong in ("KEY", tmp_path, sound.file, "x" * 5000):
        refused = run_alone(sound.file, "--key", wrong)
        assert refused.returncode == 2
        assert "is neither a verifier key (NAME+ID+KEY) nor a file of one" in refused.stderr


@pytest.mark.parametrize("case", FILE_CASES)
def test_it_agrees_on_what_is_changed(sound: Audited, case: str) -> None:
    change, findings = FILE_CASES[case]
    sound.write(change(sound.lines()))

    told = alone(sound.file, "--checkpoint", sound.older, code=1)

    assert told == sound.verify_file("--checkpoint", sound.older, code=1).stdout
    assert all(finding in told for finding in findings)


def test_it_agrees_on_signatures(sound: Audited) -> None:
    assert alone(sound.file, key=STRANGER.verifier, code=1) == (
        sound.ledger.run("verify", "--export", sound.file, "--key", STRANGER.verifier, code=1).stdout
    )
    beside = Path(f"{sound.file}.checkpoint")
    beside.write_text(beside.read_text().replace("\n16\n", "\n15\n"))
    told = alone(sound.file, code=1)
    assert "is not valid." in told
    assert told == sound.verify_file(code=1).stdout
    beside.unlink()
    assert alone(sound.file, code=1) == sound.verify_file(code=1).stdout
    sound.sign(KEY, size=10)
    assert alone(sound.file) == sound.verify_file().stdout


def test_it_agrees_on_orders_that_were_served_otherwise(sound: Audited) -> None:
    serve_otherwise(sound)

    told = alone(sound.file, code=1)
    assert "the orders that were served then are not those that the log comes to" in told
    assert told == sound.verify_file(code=1).stdout


def test_it_agrees_on_what_can_not_be_read(sound: Audited) -> None:
    lines = sound.lines()
    body = lines[2].replace(r"\"lines\":", r"\"limes\":")
    sound.write([*lines[:2], body, *lines[3:6], "{}\n", lines[6].replace('"position":7', '"position":"7"'), *lines[7:]])

    told = alone(sound.file, code=1)

    assert told == sound.verify_file(code=1).stdout
    assert "its body can't be read: KeyError 'lines'" in told


def test_a_seeded_ledger_is_the_same_to_both(sound: Audited) -> None:
    sound.ledger.run("seed", "--orders", "400")
    sound.ledger.run("follow", "--once")
    sound.ledger.run("export", sound.file)

    told = alone(sound.file, "--checkpoint", sound.older)

    assert told == sound.verify_file("--checkpoint", sound.older).stdout
    assert "orders: 404, state" in told


@pytest.mark.parametrize("key", ["nonsense", str(KEY.verifier)[:-4] + "AAA="])
def test_a_key_that_is_none_is_wrong_usage(sound: Audited, key: str) -> None:
    command = [sys.executable, VERIFIER, sound.file, "--key", key]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
