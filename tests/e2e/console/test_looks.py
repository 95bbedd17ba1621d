"""What every page looks like, light, dark and on a phone, and that none puts up barriers (axe-core).

With LEDGER_TEST_SCREENSHOTS the pictures go there, as `make screenshots` has it for the documentation.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.e2e.console.conftest import checkpoint, place
from tests.support.server import Server

AXE = Path(sys.prefix) / "axe-core" / "axe.min.js"
PAGES = {
    "overview": "/console",
    "orders": "/console/orders?before=26",
    "order": "/console/orders/7",
    "order-then": "/console/orders/7?version=2",
    "search": "/console/orders?status=order_paid&min=10.00",
    "search-refused": "/console/orders?user=x&status=shipped&min=1.5",
    "log": "/console/log?stream=order-7",
    "event": "/console/log/7",
}
LOOKS = {"light": ("light", 1200), "dark": ("dark", 1200), "phone": ("light", 390)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    directory = Path(os.environ.get("LEDGER_TEST_SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def barriers(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page."""
    if not AXE.exists() or AXE.stat().st_size == 0:
        assert "CI" not in os.environ, "axe-core is not installed"
        return []
    # By the debugger's hand, as the page's policy rightly lets no foreign script in.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


class Look:
    """One way to look at the console: the pictures of it are called so, too."""

    def __init__(self, at_console: Callable[..., Page], pictures: Path, name: str) -> None:
        self._at_console = at_console
        self._pictures = pictures
        self._name = name

    def open(self, role: str = "admin", *, refused: bool = False) -> Page:
        """The console for a role."""
        scheme, width = LOOKS[self._name]
        return self._at_console(role, scheme=scheme, width=width, pin=True, refused=refused)

    def at(self, page: Page, name: str) -> None:
        """Takes the whole page's picture, and looks for barriers and for what is wider than the page."""
        taken = page.screenshot(full_page=True, animations="disabled")
        # A third of the bytes, and of so few colours none is missed.
        few = Image.open(BytesIO(taken)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(self._pictures / f"{name}-{self._name}.png", optimize=True)
        assert barriers(page) == [], name
        # Nothing but tables is wider than the page, and those scroll by themselves.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest, at_console: Callable[..., Page], pictures: Path) -> Look:
    return Look(at_console, pictures, request.param)


def test_pages_look_right(look: Look) -> None:
    page = look.open()
    for name, path in PAGES.items():
        page.goto(path)
        look.at(page, name)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Bearer token")).to_be_visible()
    look.at(page, "sign-in")


def test_the_live_log_looks_right(look: Look, server: Server) -> None:
    page = look.open()
    size = int(checkpoint(server).split("\n")[1])
    page.goto(f"/console/log?after={size - 12}")  # at once: a stream that is left keeps its place for some seconds
    expect(page.locator("#state")).to_contain_text("Live")
    place(server)
    expect(page.locator("#events tr.new")).to_have_count(1)
    look.at(page, "log-live")


def test_proofs_look_right(look: Look) -> None:
    page = look.open()
    page.goto("/console/proof?order=5")
    expect(page.locator("article.proof.good")).to_have_count(page.locator("article.proof").count())
    page.get_by_text("The way to the root").first.click()
    look.at(page, "proof")

    def flipped(route: Route) -> None:
        answer = route.fetch()
        proofs = answer.json()
        proofs[1]["leaf"] = proofs[1]["leaf"].replace("2", "3")
        route.fulfill(response=answer, body=json.dumps(proofs))

    page.route("**/console/proof/events*", flipped)
    page.reload()
    expect(page.locator("article.proof.bad")).to_have_count(1)
    look.at(page, "proof-red")


def test_compared_checkpoints_look_right(look: Look, server: Server) -> None:
    page = look.open()
    older = checkpoint(server)
    place(server)
    while checkpoint(server) == older:
        page.wait_for_timeout(100)
    page.goto("/console/proof")
    page.get_by_label("Earlier").fill(older)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared.good")).to_be_visible()
    look.at(page, "compared")


def test_a_refused_form_looks_right(look: Look, server: Server) -> None:
    order = place(server)
    assert server.command("pay", str(order)).returncode == 0
    page = look.open("staff", refused=True)
    page.goto(f"/console/orders/{order}")
    page.get_by_label("Amount in usd").fill("999.00")
    page.locator("#refund-reason").fill("A dent")
    page.get_by_role("button", name="Refund", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not done")
    look.at(page, "refused")


def tops(page: Page, selector: str) -> list[int]:
    found: list[float] = page.locator(selector).evaluate_all("all => all.map(each => each.getBoundingClientRect().top)")
    return [round(top) for top in found]


@pytest.mark.parametrize(("width", "columns"), [(1200, 7), (390, 2)])
def test_fields_stand_in_line_whatever_is_wrong_with_one(
    at_console: Callable[..., Page], width: int, columns: int
) -> None:
    page = at_console("admin", width=width)
    page.goto(PAGES["search-refused"])
    for selector in (".filters label", ".filters input, .filters select"):
        found = tops(page, selector)
        assert found == [found[at - at % columns] for at in range(len(found))]


def test_found_orders_fit_on_a_phone(at_console: Callable[..., Page]) -> None:
    page = at_console("admin", width=390)
    page.goto(PAGES["orders"])
    assert page.locator(".wide").evaluate("each => each.scrollWidth <= each.clientWidth")
    heights = page.locator("td time").evaluate_all("all => all.map(each => each.getBoundingClientRect().height)")
    assert max(heights) < 45, "a time is on two lines at most"
