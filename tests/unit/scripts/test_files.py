"""Files that are there whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ledger.errors import LedgerError
from scripts.files import whole_file


def test_a_file_that_is_written_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    with whole_file(path) as file:
        file.write(b"after")
        assert path.read_text() == "before"

    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_that_is_not_finished_leaves_the_one_before(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"after")
            raise error

    with pytest.raises(error):
        write_half()

    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_can_not_be_written_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="can't be written: No such file"), whole_file(tmp_path / "no" / "file"):
        pytest.fail("there is nothing to write to")
