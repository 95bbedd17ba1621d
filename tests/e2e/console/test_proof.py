"""The proof page in a browser that can't verify, and against a server that leaves out, swaps or stops answering."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from ledger.transparency.checkpoints import Checkpoint
from tests.e2e.console.conftest import KEY, checkpoint
from tests.support.server import Server

ORDER = 7
OTHER = 9
NO_ED25519 = """
    const importKey = SubtleCrypto.prototype.importKey;
    SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {
        if (algorithm.name === "Ed25519") throw new DOMException("Unrecognized name.", "NotSupportedError");
        return importKey.call(this, format, key, algorithm, ...rest);
    };
"""


def proofs_of(server: Server, order: int) -> list[dict[str, Any]]:
    with server.client(92, "auditor") as client:
        found: list[dict[str, Any]] = client.get(f"{server.url}/orders/{order}/proof", timeout=30).json()
    return found


def answered(page: Page, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Lets the server's answer to the script be changed."""

    def changed(route: Route) -> None:
        answer = route.fetch()
        proofs = answer.json()
        change(proofs)
        route.fulfill(response=answer, body=json.dumps(proofs))

    page.route("**/console/proof/events*", changed)


def test_a_green_verdict_says_which_event_it_is(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor", pin=True)
    page.goto(f"/console/proof?order={ORDER}")
    for number, proven in enumerate(proofs_of(server, ORDER), 1):
        position, stream, version, type, _ = proven["leaf"].split("\n", 4)
        heading = page.locator("article.proof.good h2").nth(number - 1)
        expect(heading).to_have_text(
            re.compile(f"Version {number} of {stream}, {type}, at position {position}: verified")
        )
        expect(heading.locator(".claimed")).to_be_hidden()
        assert (stream, version) == (f"order-{ORDER}", str(number))
    expect(page.get_by_text("that no later event of the order was left out")).to_be_visible()


def test_an_event_of_another_order_is_red(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor", pin=True)
    page.route(
        "**/console/proof?order*", lambda route: route.continue_(url=f"{server.url}/console/proof?order={OTHER}")
    )
    page.goto(f"/console/proof?order={ORDER}")
    expect(page.locator("article.proof.bad")).to_have_count(len(proofs_of(server, OTHER)))
    told = f"this is an event of order-{OTHER}, and not of order-{ORDER}"
    expect(page.locator("article.proof .steps li.bad").first).to_contain_text(told)


def test_an_event_that_is_left_out_makes_what_follows_red(at_console: Callable[..., Page], server: Server) -> None:
    assert len(proofs_of(server, ORDER)) > 2
    page = at_console("auditor", pin=True)
    answered(page, lambda proofs: proofs.pop(1))
    page.goto(f"/console/proof?order={ORDER}")
    verdicts = page.locator("article.proof")
    expect(verdicts.nth(0)).to_have_class(re.compile("good"))
    expect(verdicts.nth(1).locator(".steps li.bad")).to_contain_text("the server gives no proof of this event")
    told = f"version 3 of order-{ORDER} stands here, and version 2 belongs here: events were left out"
    expect(verdicts.nth(2).locator(".steps li.bad")).to_contain_text(told)


def test_a_proof_that_is_kept_back_is_red(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", pin=True)
    answered(page, lambda proofs: proofs[1].update(proof=None))
    page.goto(f"/console/proof?order={ORDER}")
    expect(page.locator("article.proof.bad")).to_contain_text("events has it, and the server gives no proof")


def test_over_plain_http_it_is_said_that_nothing_can_be_verified(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", host="ledger.example", refused=True)  # browsers tell of the lack of https there
    page.goto(f"/console/proof?order={ORDER}")
    state = page.locator("#key-state")
    for key in ("", str(KEY.verifier)):
        page.get_by_label("Verifier key").fill(key)
        page.get_by_label("Verifier key").press("Tab")
        expect(state).to_contain_text("This browser can't verify here")
        expect(state).to_contain_text("open the page over https, or verify offline")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared")).to_contain_text("This browser can't verify here")
    expect(page.locator(".verdict").first).to_have_text("not verified yet")


def test_without_ed25519_it_is_said_that_nothing_can_be_verified(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", pin=True)
    page.add_init_script(NO_ED25519)
    page.goto(f"/console/proof?order={ORDER}")
    expect(page.locator("#key-state")).to_contain_text("This browser can't verify here: it does not know Ed25519")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared")).to_contain_text("it does not know Ed25519")


def test_an_error_that_nobody_expected_is_shown(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor", pin=True)
    page.add_init_script("SubtleCrypto.prototype.verify = () => { throw new Error('out of luck'); };")
    page.goto(f"/console/proof?order={ORDER}")
    expect(page.locator("article.proof.bad")).to_have_count(len(proofs_of(server, ORDER)))
    expect(page.locator("article.proof .steps li.bad").first).to_contain_text("nobody expected: Error: out of luck")
    page.get_by_label("Earlier").fill(checkpoint(server))
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared")).to_contain_text("nobody expected: Error: out of luck")


@pytest.mark.parametrize("answer", ["<html>", "5", "[null]"])
def test_an_answer_that_is_none_is_shown(at_console: Callable[..., Page], answer: str) -> None:
    page = at_console("auditor", pin=True)
    page.route("**/console/proof/events*", lambda route: route.fulfill(body=answer))
    page.goto(f"/console/proof?order={ORDER}")
    expect(page.locator("#key-state")).to_contain_text("an error that nobody expected")
    expect(page.locator("article.proof.good")).to_have_count(0)


def test_who_is_not_signed_in_any_more_is_told(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor")
    page.goto(f"/console/proof?order={ORDER}")
    latest = checkpoint(server)
    page.context.clear_cookies()
    page.get_by_label("Verifier key").fill(str(KEY.verifier))
    page.get_by_label("Verifier key").press("Tab")
    told = "your session has ended; load the page again to sign in"
    expect(page.locator("#key-state")).to_contain_text(told)

    page.get_by_label("Earlier").fill(str(Checkpoint(latest.split("\n")[0], 1, bytes(32)).signed([KEY])))
    page.get_by_label("Later").fill(latest)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared")).to_contain_text(told)


def test_the_verifier_is_offered_as_a_file(at_console: Callable[..., Page], tmp_path: Path) -> None:
    page = at_console("auditor")
    page.goto("/console/proof")
    with page.expect_download() as download:
        page.get_by_role("link", name="verify_export.py").click()
    saved = tmp_path / "verify_export.py"
    download.value.save_as(saved)
    root = Path(__file__).parents[3]
    assert saved.read_bytes() == (root / "scripts" / "verify_export.py").read_bytes()
