"""The API on a real ledger in memory, a clock that tests set, and tokens for whoever is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from api.auth import TokenPolicy, TokenVerifier
from api.services import Services
from ledger.settings import Settings
from scripts.bootstrap import Runtime, build

SECRET = "a shared secret of the tests, long enough"
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass
class SetClock:
    """A clock that stands still until it is moved."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Tokens:
    """Makes the claims of good tokens, and signs them."""

    clock: SetClock

    def claims(self, user: int = 1, **changes: Any) -> dict[str, Any]:
        claims = {"sub": str(user), "exp": int(self.clock().timestamp()) + 3600, **changes}
        return {name: value for name, value in claims.items() if value is not ...}

    def make(
        self, user: int = 1, key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **changes: Any
    ) -> str:
        return jwt.encode(self.claims(user, **changes), key, algorithm=algorithm, headers=headers)

    def headers(self, user: int = 1, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.make(user, **claims)}"}


@dataclass
class Raising:
    """Stands for any service: whatever is asked of it, it raises."""

    error: Exception
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*_: Any, **__: Any) -> Any:
            self.asked.append(name)
            raise self.error

        return ask


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def tokens(clock: SetClock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    settings = Settings.from_env({"LEDGER_DATABASE_URL": "sqlite:///:memory:", "LEDGER_JWT_SECRET": SECRET})
    with build(settings) as runtime:
        runtime.migrate()
        yield runtime


@pytest.fixture
def make_app(runtime: Runtime, clock: SetClock) -> Callable[..., Flask]:
    """Makes the application, with services replaced by name."""

    def make(*, public_log: bool = False, **services: Any) -> Flask:
        changed: Services = replace(runtime.services, **services)
        numbers = iter(range(1, 1_000_000))
        verifier = TokenVerifier(TokenPolicy(secret=SECRET), clock)
        return create_app(changed, verifier, new_request_id=lambda: f"made-{next(numbers)}", public_log=public_log)

    return make


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def alice(tokens: Tokens) -> dict[str, str]:
    return tokens.headers(1)


@pytest.fixture
def staff(tokens: Tokens) -> dict[str, str]:
    return tokens.headers(9, role="staff")


@pytest.fixture
def raising() -> type[Raising]:
    return Raising


@pytest.fixture
def is_problem() -> Callable[..., dict[str, Any]]:
    """Checks that an answer is a problem document of a type, and hands the document over."""

    def check(response: Any, slug: str, status: int) -> dict[str, Any]:
        assert response.status_code == status, response.get_data(as_text=True)
        assert response.content_type == "application/problem+json"
        document: dict[str, Any] = response.get_json(force=True)
        assert document["type"] == f"/problems/{slug}"
        assert document["status"] == status
        assert document["title"]
        assert document["detail"]
        assert document["requestId"] == response.headers["X-Request-Id"]
        return document

    return check
