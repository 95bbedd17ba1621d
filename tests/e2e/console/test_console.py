"""The console in a real browser: sign-in to sign-out, live, through time, with proofs that turn green or red."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from ledger.transparency.checkpoints import Checkpoint
from tests.e2e.console.conftest import KEY, checkpoint, place, sign_in
from tests.support.busy import log_key
from tests.support.server import Server, token

ORDER = 7


def test_from_sign_in_to_sign_out(at_console: Callable[..., Page], server: Server) -> None:
    order = place(server, user=77)
    page = at_console("staff")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_role("link", name="Log", exact=True)).to_have_count(0)

    page.get_by_role("link", name="Orders").click()
    page.get_by_label("User").fill("77")
    page.get_by_label("Status").select_option("pending")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("region", name="Orders found").get_by_role("link", name=str(order), exact=True).click()

    page.get_by_label("New status").select_option("awaiting_payment")
    page.locator("#move-reason").fill("They pay by bank & <b>soon</b>")
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("awaiting payment")
    expect(page.locator(".timeline")).to_contain_text("They pay by bank & <b>soon</b>")
    expect(page.locator(".timeline > li")).to_have_count(2)

    page.locator("#version").press("Home")
    page.get_by_role("button", name="Go there").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("pending")
    expect(page.get_by_text("As it was at version 1")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    page.goto("/console/orders")
    expect(page.get_by_label("Bearer token")).to_be_visible()


def test_the_slider_by_keyboard_goes_when_it_is_told_to(at_console: Callable[..., Page], server: Server) -> None:
    order = place(server)
    assert server.command("pay", str(order)).returncode == 0
    page = at_console("auditor")
    page.goto(f"/console/orders/{order}")
    slider, now = page.get_by_label("Version"), page.locator("output")
    last = int(now.inner_text())
    assert last > 2
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    slider.focus()
    for version in range(last - 1, 0, -1):
        page.keyboard.press("ArrowLeft")
        expect(now).to_have_text(str(version))
    page.keyboard.press("ArrowRight")
    expect(slider).to_be_focused()
    assert asked == []
    page.keyboard.press("Enter")
    expect(page.get_by_text("As it was at version 2")).to_be_visible()
    assert [url for url in asked if "?" in url] == [f"{server.url}/console/orders/{order}?version=2"]


def test_the_slider_goes_where_it_is_let_go_of(at_console: Callable[..., Page], server: Server) -> None:
    order = place(server)
    assert server.command("pay", str(order)).returncode == 0
    page = at_console("auditor")
    page.goto(f"/console/orders/{order}")
    box = page.get_by_label("Version").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2, steps=5)
    expect(page.locator("output")).to_have_text("1")
    page.mouse.up()
    expect(page.get_by_text("As it was at version 1")).to_be_visible()


def test_staff_refunds_a_part(at_console: Callable[..., Page], server: Server) -> None:
    order = place(server)
    assert server.command("pay", str(order)).returncode == 0
    page = at_console("staff")
    page.goto(f"/console/orders/{order}")
    page.get_by_label("Amount in usd").fill("5.00")
    page.locator("#refund-reason").fill("A dent")
    page.get_by_role("button", name="Refund", exact=True).click()
    expect(page.locator(".timeline")).to_contain_text("A dent")
    expect(page.locator("dl").nth(1)).to_contain_text("5.00 usd")
    expect(page.get_by_label("Amount in usd")).to_have_value("")


def test_the_feed_is_live_and_loses_and_doubles_nothing(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor")
    page.get_by_role("link", name="Log", exact=True).click()
    expect(page.locator("#state")).to_contain_text("Live")
    positions = page.locator("#events tr td:first-child")
    before = int(positions.first.inner_text())
    place(server)
    expect(positions.first).to_have_text(str(before + 1))

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused.")
    for _ in range(3):
        place(server)
    page.get_by_role("button", name="Resume").click()
    expect(positions.first).to_have_text(str(before + 4))
    shown = [int(text) for text in positions.all_inner_texts()]
    assert shown == list(range(before + 4, before + 4 - len(shown), -1))

    positions.first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Position {before + 4}")
    expect(page.locator("#leaf")).to_contain_text("OrderCreated")


def test_a_filter_keeps_the_feed_to_what_is_wanted(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor")
    page.goto("/console/log?user=6")
    expect(page.locator("#state")).to_contain_text("Live")
    rows = page.locator("#events tr").count()
    place(server, user=8)
    place(server, user=6)
    expect(page.locator("#events tr")).to_have_count(rows + 1)
    expect(page.locator("#events tr").first).to_contain_text("customer 6")


def test_a_good_proof_turns_green(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor")
    page.goto(f"/console/orders/{ORDER}")
    page.get_by_role("link", name="Proof of its events").click()
    expect(page.locator(".verdict").first).to_have_text("not verified yet")

    page.get_by_label("Verifier key").fill(str(KEY.verifier))
    page.get_by_label("Verifier key").press("Tab")
    proofs = page.locator("article.proof")
    expect(page.locator("article.proof.good")).to_have_count(proofs.count())
    expect(proofs.first).to_contain_text(f"is signed by {KEY.name}")
    page.get_by_text("The way to the root").first.click()
    expect(proofs.first.locator("svg rect.ours").first).to_be_visible()

    page.reload()  # the key was kept
    expect(page.locator("article.proof.good")).to_have_count(proofs.count())


def test_a_pasted_key_counts_before_the_field_is_left(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor")
    page.goto(f"/console/proof?order={ORDER}")
    page.get_by_label("Earlier").fill(str(KEY.verifier))
    page.get_by_label("Earlier").press("Control+A")
    page.get_by_label("Earlier").press("Control+C")
    page.get_by_label("Verifier key").press("Control+V")
    expect(page.locator("article.proof.good").first).to_be_visible()
    expect(page.get_by_label("Verifier key")).to_be_focused()


def test_a_key_that_was_brought_before_the_script_came_is_not_lost(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor")

    def slowly(route: Route) -> None:
        answer = route.fetch()
        page.get_by_label("Verifier key").fill(str(KEY.verifier))
        route.fulfill(response=answer)

    page.route("**/proof_page.js", slowly)
    page.goto(f"/console/proof?order={ORDER}", wait_until="commit")
    expect(page.locator("article.proof.good").first).to_be_visible()


def test_another_key_makes_nothing_stay_green(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor", pin=True)
    page.goto(f"/console/proof?order={ORDER}")
    expect(page.locator("article.proof.good").first).to_be_visible()

    page.get_by_label("Verifier key").fill("no key")
    page.get_by_label("Verifier key").press("Tab")
    expect(page.locator("#key-state")).to_contain_text("Not a key")
    expect(page.locator("article.proof.good")).to_have_count(0)
    expect(page.locator(".verdict").first).to_have_text("not verified yet")


FLIPS: dict[str, tuple[Callable[[dict[str, str]], None], str]] = {}


def flip(name: str, told: str) -> Callable[[Callable[[dict[str, str]], None]], None]:
    def kept(change: Callable[[dict[str, str]], None]) -> None:
        FLIPS[name] = (change, told)

    return kept


@flip("the event", "does not lead to the root that was signed")
def _(proven: dict[str, str]) -> None:
    proven["leaf"] = proven["leaf"].replace("OrderCreated", "OrderCreatee")


@flip("a hash of the way", "does not lead to the root that was signed")
def _(proven: dict[str, str]) -> None:
    lines = proven["proof"].split("\n")
    lines[2] = ("B" if lines[2][0] == "A" else "A") + lines[2][1:]
    proven["proof"] = "\n".join(lines)


@flip("a hash too few", "the proof is too short")
def _(proven: dict[str, str]) -> None:
    lines = proven["proof"].split("\n")
    proven["proof"] = "\n".join([*lines[:2], *lines[3:]])


@flip("the index", "the proof is of position")
def _(proven: dict[str, str]) -> None:
    proven["proof"] = re.sub(r"index (\d+)", lambda found: f"index {int(found[1]) + 1}", proven["proof"])


@flip("the root", "is not valid")
def _(proven: dict[str, str]) -> None:
    head, _, note = proven["proof"].partition("\n\n")
    lines = note.split("\n")
    lines[2] = ("B" if lines[2][0] == "A" else "A") + lines[2][1:]
    proven["proof"] = head + "\n\n" + "\n".join(lines)


@flip("the size", "is not valid")
def _(proven: dict[str, str]) -> None:
    head, _, note = proven["proof"].partition("\n\n")
    lines = note.split("\n")
    proven["proof"] = head + "\n\n" + "\n".join([lines[0], lines[1] + "0", *lines[2:]])


@flip("the signature", "is not valid")
def _(proven: dict[str, str]) -> None:
    proven["proof"] = re.sub(r"(\u2014 \S+ \S{20})(.)", lambda f: f[1] + ("B" if f[2] == "A" else "A"), proven["proof"])


@flip("who signed", "is not signed by")
def _(proven: dict[str, str]) -> None:
    proven["proof"] = proven["proof"].replace(f"\u2014 {KEY.name} ", "\u2014 evil.example ")


@pytest.mark.parametrize("name", FLIPS)
def test_a_flipped_bit_turns_red(at_console: Callable[..., Page], name: str) -> None:
    change, told = FLIPS[name]
    page = at_console("auditor", pin=True)

    def tampered(route: Route) -> None:
        answer = route.fetch()
        proofs = answer.json()
        change(proofs[0])
        route.fulfill(response=answer, body=json.dumps(proofs))

    page.route("**/console/proof/events*", tampered)
    page.goto(f"/console/proof?order={ORDER}")
    first = page.locator("article.proof").first
    expect(first).to_have_class(re.compile("bad"))
    expect(first.locator(".steps li.bad")).to_contain_text(told)
    expect(page.locator("article.proof.good")).to_have_count(page.locator("article.proof").count() - 1)


def test_another_key_proves_nothing(at_console: Callable[..., Page]) -> None:
    page = at_console("auditor")
    page.goto(f"/console/proof?order={ORDER}")
    key = page.get_by_label("Verifier key")
    for text, told in (("nonsense", "not a verifier key"), (f"{KEY.verifier}A", "base64")):
        key.fill(text)
        key.press("Tab")
        expect(page.locator("#key-state")).to_contain_text(told)
    key.fill(str(log_key(seed=9).verifier))
    key.press("Tab")
    expect(page.locator("article.proof.bad")).to_have_count(page.locator("article.proof").count())


def test_checkpoints_are_compared(at_console: Callable[..., Page], server: Server) -> None:
    page = at_console("auditor", pin=True)
    older = checkpoint(server)
    size = int(older.split("\n")[1])
    place(server)
    page.goto("/console/proof")
    while int(checkpoint(server).split("\n")[1]) <= size:
        page.wait_for_timeout(100)
    page.goto("/console/proof")
    said = page.locator("#compared")

    def compare(text: str) -> None:
        page.get_by_label("Earlier").fill(text)
        page.get_by_role("button", name="Compare").click()

    compare(older)
    expect(said).to_contain_text("Consistent: the log of")
    compare(page.get_by_label("Later").input_value())
    expect(said).to_contain_text("The same log")
    forked = older.split("\n")
    compare(str(Checkpoint(forked[0], size, bytes(32)).signed([KEY])))
    expect(said).to_contain_text("a fork")
    compare("nonsense")
    expect(said).to_contain_text("not a signed note")


def test_without_scripts_all_but_the_live_parts_works(browser: Browser, server: Server) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=server.url)
    page = context.new_page()
    page.goto("/console/log")
    sign_in(page, token(92, "auditor"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Log")
    page.get_by_role("link", name="Earlier").click()
    expect(page).to_have_url(re.compile(r"/console/log\?before="))
    expect(page.locator("#events tr")).not_to_have_count(0)
    page.goto(f"/console/orders/{ORDER}")
    page.get_by_role("button", name="Go there").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Order {ORDER}")
    page.goto(f"/console/proof?order={ORDER}")
    page.get_by_text("The event as it is hashed").first.click()
    expect(page.locator("pre.text").first).to_contain_text("c2sp.org/tlog-proof@v1")
    assert "This page needs JavaScript to verify" in page.content()
    context.close()
