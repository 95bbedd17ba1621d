from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import SettingsError
from ledger.settings import Settings
from scripts.bootstrap import build, token_verifier


def settings_of(tmp_path: Path, **environ: str) -> Settings:
    base = {"LEDGER_VAR_DIR": str(tmp_path), "LEDGER_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
    return Settings.from_env(base | environ)


@pytest.fixture
def pem() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_nothing_is_connected_or_created_by_building(tmp_path: Path) -> None:
    with build(settings_of(tmp_path)):
        assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_down_does_not_matter_until_it_is_used(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, LEDGER_DATABASE_URL="postgresql://127.0.0.1:1/x", LEDGER_JWT_SECRET="x" * 32)
    with build(settings) as runtime:
        assert runtime.app().test_client().get("/healthz").status_code == 200


def test_the_public_key_may_be_text_one_line_or_a_file(tmp_path: Path, pem: str) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem)

    for value in (pem, pem.replace("\n", "\\n"), str(file)):
        token_verifier(settings_of(tmp_path, LEDGER_JWT_PUBLIC_KEY=value))


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"no key"])
def test_a_public_key_that_is_none_is_one_clear_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as told:
        token_verifier(settings_of(tmp_path, LEDGER_JWT_PUBLIC_KEY=str(file)))

    assert "\n" not in str(told.value)
