from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.clock import rfc3339, utc_now
from ledger.errors import SettingsError
from ledger.settings import Settings
from scripts.bootstrap import build, token_verifier
from tests.support.busy import log_key
from tests.support.receiver import receiving
from tests.support.storages import CUSTOMER

SECRET = "a shared secret of the tests, long enough"


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


def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        LEDGER_JWT_SECRET=SECRET,
        LEDGER_RATE_LIMIT_USER="3/hour",
        LEDGER_RATE_LIMIT_ADDRESS="2/minute",
        LEDGER_PROXIES="1",
    )
    with build(settings) as runtime:
        runtime.migrate()
        client = runtime.app().test_client()
        headers = {"Authorization": f"Bearer {jwt.encode({'sub': '1', 'exp': 2**33}, SECRET)}"}
        answers = [
            client.get("/leads/statuses", headers={**headers, "X-Forwarded-For": f"192.0.2.{number}"})
            for number in (1, 1, 1, 2)
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert set(answers[0].headers["RateLimit-Policy"].split(", ")) == {'"address";q=2;w=60', '"user";q=3;w=3600'}
    assert [name for name in ("2 each 60", "3 each 3600") if name in answers[2].json["detail"]] == ["2 each 60"]
    assert [name for name in ("2 each 60", "3 each 3600") if name in answers[3].json["detail"]] == ["3 each 3600"]


@pytest.mark.parametrize(("max_lag", "late"), [("10", 2), ("3600", 0)])
def test_followers_may_be_as_late_as_the_settings_say(tmp_path: Path, max_lag: str, late: int) -> None:
    with build(settings_of(tmp_path, LEDGER_MAX_LAG=max_lag)) as runtime:
        runtime.migrate()
        body = f'{{"timestamp":"{rfc3339(utc_now() - timedelta(seconds=60))}"}}'
        with runtime.database.write() as cursor:
            cursor.execute("INSERT INTO events VALUES (1, 's-1', 1, 'Unrelated', ?)", (body,))
        assert len([each for each in runtime.services.health.symptoms() if "is 1 events behind" in each.what]) == late


@pytest.mark.parametrize("signs", [True, False])
def test_checkpoints_are_looked_at_where_there_is_a_key(tmp_path: Path, signs: bool) -> None:
    environ = {"LEDGER_LOG_KEY": log_key().secret_text} if signs else {}
    with build(settings_of(tmp_path, **environ)) as runtime:
        runtime.migrate()
        slugs = [follower.slug for follower in runtime.services.health.followers()]
    assert slugs == ["transparency-log", *(["checkpoints"] if signs else []), "order-search"]


def test_what_delivers_has_ended_when_it_is_closed(tmp_path: Path) -> None:
    """What is on its way is noted before the connections close."""
    with build(settings_of(tmp_path, LEDGER_WEBHOOK_PRIVATE="yes")) as runtime, receiving() as receiver:
        runtime.migrate()
        receiver.answer = lambda _: time.sleep(0.5) or 204
        runtime.services.endpoints.register(receiver.url)
        runtime.services.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        runtime.deliverer().step()
        runtime.close()
        with build(runtime.settings) as after:
            [endpoint] = after.services.endpoints.all()
    assert (endpoint.delivered, endpoint.waiting) == (1, 0)
