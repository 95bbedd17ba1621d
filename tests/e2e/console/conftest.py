"""A browser, a server with a key, and people at the console."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.busy import log_key
from tests.support.server import Server, token

KEY = log_key()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
expect.set_options(timeout=30_000)  # milliseconds: other tests may keep the machine busy
FLAGS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.example 127.0.0.1",  # other origins, and other sites, than where the server listens
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        assert "CI" not in os.environ, "chromium is not installed"
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite with some orders."""
    home: Path = tmp_path_factory.mktemp("console")
    running = Server(home, f"sqlite:///{home}/ledger.db", workers=1, threads=16)
    running.environ["LEDGER_LOG_KEY"] = KEY.secret_text
    assert running.command("seed", "--orders", "40").returncode == 0
    assert running.command("check").returncode == 0
    running.start()
    yield running
    running.stop()


def sign_in(page: Page, bearer: str) -> None:
    """Sends the form of a page that asks who is there."""
    field = page.get_by_label("Bearer token")
    # The page gives it the focus once it is drawn; focused before that, the browser says so on its console.
    expect(field).to_be_focused()
    field.fill(bearer)
    page.get_by_role("button", name="Sign in").click()


def place(server: Server, user: int = 5) -> int:
    """An order of two things, by its id."""
    with server.client(user) as client:
        created = client.post(f"{server.url}/orders/new", json=["1", "2"], timeout=30)
    return int(created.json()["id"])


def checkpoint(server: Server) -> str:
    """The latest checkpoint."""
    with server.client(92, "auditor") as client:
        return client.get(f"{server.url}/log/checkpoint", timeout=30).text


@pytest.fixture
def at_console(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the console for a role; fails when a page says anything on the browser's console or asks another host.

    ``refused``: the browser is expected to say so there, as it does of every request that fails.
    """
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def open_console(
        role: str = "admin",
        *,
        scheme: str = "light",
        width: int = 1200,
        pin: bool = False,
        refused: bool = False,
        host: str = "127.0.0.1",
    ) -> Page:
        url = server.url.replace("127.0.0.1", host)
        context = browser.new_context(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": 860},
            base_url=url,
        )
        contexts.append(context)
        page = context.new_page()
        if not refused:
            page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(url) else None)
        page.goto("/console")
        sign_in(page, token(90, role))
        page.wait_for_url("**/console")
        if pin:
            page.evaluate("key => localStorage.setItem('order-ledger verifier key', key)", str(KEY.verifier))
        return page

    yield open_console
    for context in contexts:
        context.close()
    assert said == []
