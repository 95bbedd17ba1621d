"""The live feed where it is lost, refused or over, and where events come that no page knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack

from playwright.sync_api import Page, expect

from tests.e2e.console.conftest import place
from tests.support.server import Server

STREAM = "**/console/log/stream*"


def test_pausing_and_resuming_after_a_lost_connection_opens_one_stream(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", refused=True)
    page.clock.install()
    page.route(STREAM, lambda route: route.fulfill(status=503))
    page.goto("/console/log")
    state = page.locator("#state")
    expect(state).to_have_text("The server answered 503; trying again.")
    page.unroute(STREAM)
    opened: list[str] = []
    page.on("request", lambda request: opened.append(request.url) if "/log/stream" in request.url else None)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    expect(state).to_contain_text("Live.")
    page.clock.run_for(60_000)
    expect(state).to_contain_text("Live.")
    assert len(opened) == 1


def test_a_feed_that_is_paused_stays_paused(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", refused=True)
    page.clock.install()
    page.route(STREAM, lambda route: route.fulfill(status=503))
    page.goto("/console/log")
    expect(page.locator("#state")).to_have_text("The server answered 503; trying again.")
    page.get_by_role("button", name="Pause").click()
    opened: list[str] = []
    page.on("request", lambda request: opened.append(request.url))
    page.clock.run_for(60_000)
    expect(page.locator("#state")).to_have_text("Paused.")
    assert opened == []


def test_who_finds_no_place_is_told_and_gets_one_later(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor", refused=True)
    url = f"{server.url}/audit/events/stream"
    with ExitStack() as others, server.client(92, "auditor") as client:
        taken = 0
        while (answer := others.enter_context(client.get(url, stream=True, timeout=30))).status_code == 200:
            taken += 1
        assert answer.status_code == 429
        assert taken > 0
        page.goto("/console/log")
        told = "As many clients as this process has room for follow the log already. Trying again."
        expect(page.locator("#state")).to_have_text(told)
    expect(page.locator("#state")).to_contain_text("Live.")


def test_whose_session_has_ended_is_told(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", refused=True)
    page.goto("/console/log")
    expect(page.locator("#state")).to_contain_text("Live.")
    page.get_by_role("button", name="Pause").click()
    page.context.clear_cookies()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#state")).to_have_text("Your session has ended: load the page again to sign in.")


def test_an_event_of_a_type_that_nobody_knows_is_shown(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor")
    page.goto("/console/log")
    expect(page.locator("#state")).to_contain_text("Live.")
    page.get_by_role("button", name="Pause").click()
    order = place(server)
    path = server.environ["LEDGER_DATABASE_URL"].removeprefix("sqlite:///")
    altered = "UPDATE events SET type = 'OrderForged' WHERE stream = ?"
    with sqlite3.connect(path, timeout=30) as database:
        assert database.execute(altered, (f"order-{order}",)).rowcount == 1
    database.close()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#events tr").first).to_contain_text(f"order-{order}")
    expect(page.locator("#events tr").first).to_contain_text("OrderForged")
