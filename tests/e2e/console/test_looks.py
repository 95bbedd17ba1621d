"""What every page looks like, light, dark and on a phone, and that none puts up barriers (axe-core).

With LEDGER_TEST_SCREENSHOTS the pictures go there, as `make screenshots` has it for the documentation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(sys.prefix) / "axe-core" / "axe.min.js"
PAGES = {
    "overview": "/console",
    "orders": "/console/orders",
    "order": "/console/orders/7",
    "order-then": "/console/orders/7?version=2",
    "search": "/console/orders?user=x&status=shipped",
    "log": "/console/log?after=0",
    "event": "/console/log/7",
    "proof": "/console/proof?order=7",
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


@pytest.mark.parametrize("look", LOOKS)
def test_pages_look_right_and_put_up_no_barriers(at_console: Callable[..., Page], look: str, pictures: Path) -> None:
    scheme, width = LOOKS[look]
    page = at_console("admin", scheme=scheme, width=width, pin=True)
    for name, path in PAGES.items():
        page.goto(path)
        if name == "proof":
            expect(page.locator("article.proof.good").first).to_be_visible()
        page.screenshot(path=pictures / f"{name}-{look}.png", clip={"x": 0, "y": 0, "width": width, "height": 860})
        assert barriers(page) == [], name
        # Nothing but tables is wider than the page, and those scroll by themselves.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Bearer token")).to_be_visible()
    page.screenshot(path=pictures / f"sign-in-{look}.png")
    assert barriers(page) == []
