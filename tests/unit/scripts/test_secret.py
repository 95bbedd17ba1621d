from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import SettingsError
from ledger.settings import Settings
from scripts.secret import SECRET_FILE, with_kept_secret, with_secret
from tests.support.cli import ROOT

CONFIGURED = {
    "LEDGER_JWT_SECRET": "x" * 32,
    "LEDGER_JWT_PUBLIC_KEY": "key.pem",
    "LEDGER_JWT_JWKS_URL": "https://example.org/jwks",
}


def settings_of(var_dir: Path, **environ: str) -> Settings:
    return Settings.from_env({"LEDGER_VAR_DIR": str(var_dir), **environ})


def test_a_secret_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "new" / "var")

    first = with_secret(settings).jwt_secret
    again = with_secret(settings).jwt_secret

    assert first == again
    assert first is not None
    assert len(first) >= 43
    kept = tmp_path / "new" / "var" / SECRET_FILE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(kept.parent.iterdir()) == [kept]


def test_looking_for_the_secret_makes_none(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "var")

    assert with_kept_secret(settings) is None
    assert not (tmp_path / "var").exists()
    assert with_secret(settings) == with_kept_secret(settings)


@pytest.mark.parametrize("name", CONFIGURED)
def test_nothing_is_made_when_a_way_to_verify_is_configured(tmp_path: Path, name: str) -> None:
    settings = settings_of(tmp_path / "var", **{name: CONFIGURED[name]})

    assert with_secret(settings) == settings
    assert not (tmp_path / "var").exists()


def test_production_refuses_a_missing_secret_even_when_a_file_is_there(tmp_path: Path) -> None:
    with_secret(settings_of(tmp_path))

    with pytest.raises(SettingsError, match="LEDGER_ENV=production needs one of LEDGER_JWT_SECRET"):
        with_secret(settings_of(tmp_path, LEDGER_ENV="production"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with_secret(settings_of(tmp_path))
    (tmp_path / SECRET_FILE).chmod(mode)

    with pytest.raises(SettingsError, match="chmod 600"):
        with_secret(settings_of(tmp_path))


def test_a_link_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 40)
    elsewhere.chmod(0o600)
    (tmp_path / SECRET_FILE).symlink_to(elsewhere)

    with pytest.raises(SettingsError, match="can't be kept"):
        with_secret(settings_of(tmp_path))


def test_what_is_not_a_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).mkdir()

    with pytest.raises(SettingsError, match=SECRET_FILE):
        with_secret(settings_of(tmp_path))


@pytest.mark.parametrize("content", ["", "\n", "too short\n"])
def test_a_short_secret_is_refused(tmp_path: Path, content: str) -> None:
    kept = tmp_path / SECRET_FILE
    kept.write_text(content)
    kept.chmod(0o600)

    with pytest.raises(SettingsError, match="less than 32 bytes"):
        with_secret(settings_of(tmp_path))


def test_a_directory_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")

    with pytest.raises(SettingsError, match="can't be kept in"):
        with_secret(settings_of(tmp_path / "var"))


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    program = (
        "import sys; from ledger.settings import Settings; from scripts.secret import with_secret;"
        "settings = Settings.from_env({'LEDGER_VAR_DIR': sys.argv[1]});"
        "print('ready', flush=True); sys.stdin.readline(); print(with_secret(settings).jwt_secret)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "var")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    secrets = {process.communicate(timeout=30)[0] for process in processes}

    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "var").iterdir()] == [SECRET_FILE]
