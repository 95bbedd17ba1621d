"""Hostile texts stay texts where scripts draw them, and pages of other origins get nothing out of the console."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.proofs import LogProof
from tests.e2e.console.conftest import KEY, place
from tests.support.server import Server

HOSTILE = (
    """<img src=x onerror="document.title='owned'"></script><script>document.title='owned'</script>{{7*7}}&lt;b&gt;"""
)
HOSTS = ("evil.example", "127.0.0.1")  # of another site; and of the same one, which cookies are sent from


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose products have hostile names."""
    home: Path = tmp_path_factory.mktemp("hostile")
    catalogue = home / "catalogue.json"
    products = [{"id": number, "sku": f"sku-{number}", "name": HOSTILE, "priceInCents": 500} for number in (1, 2)]
    catalogue.write_text(json.dumps(products), encoding="utf-8")
    running = Server(home, f"sqlite:///{home}/ledger.db", workers=1, threads=16)
    running.environ |= {"LEDGER_LOG_KEY": KEY.secret_text, "LEDGER_CATALOGUE": str(catalogue)}
    running.start()
    yield running
    running.stop()


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str, str], str]]:
    """Serves a page from another origin, of this host, and returns its address."""
    pages: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()

        def serve(host: str, html: str) -> str:
            path = f"/{len(pages)}.html"
            pages[path] = html
            return f"http://{host}:{listening.server_port}{path}"

        yield serve
        listening.shutdown()
        thread.join()


def is_harmless(page: Page) -> bool:
    made = page.evaluate("document.querySelectorAll('img[src=x], main script, main b').length")
    return made == 0 and page.title() != "owned"


def move(page: Page, order: int) -> None:
    page.goto(f"/console/orders/{order}")
    page.get_by_label("New status").select_option("declined")
    page.locator("#move-reason").fill(HOSTILE)
    page.get_by_role("button", name="Move", exact=True).click()


def test_hostile_texts_in_the_live_feed(at_console: Callable[..., Page], server: Server) -> None:
    page, staff = at_console("auditor"), at_console("staff")
    page.goto("/console/log")
    expect(page.locator("#state")).to_contain_text("Live")
    move(staff, place(server))
    expect(page.locator("#events tr.new td.why").first).to_have_text(HOSTILE)
    expect(staff.locator(".timeline")).to_contain_text(HOSTILE)
    assert is_harmless(page)
    assert is_harmless(staff)


def test_hostile_texts_on_the_proof_page(at_console: Callable[..., Page], server: Server) -> None:
    order = place(server)
    move(at_console("staff"), order)
    page = at_console("auditor", pin=True)
    page.goto(f"/console/proof?order={order}")
    while page.locator("article.proof.good").count() < 2:  # the checkpoint comes within a second
        page.wait_for_timeout(200)
        page.reload()
        expect(page.locator(".verdict").first).not_to_have_text("not verified yet")
    texts = page.locator("pre.leaf").all_text_contents()
    assert json.dumps(HOSTILE)[1:-1] in texts[0]
    assert json.dumps(HOSTILE)[1:-1] in texts[1]
    assert is_harmless(page)


def test_a_hostile_type_that_was_signed_is_a_text(at_console: Callable[..., Page], server: Server) -> None:
    place(server)
    leaf = f"1\norder-1\n1\n{HOSTILE}\n{{}}"
    checkpoint = Checkpoint(KEY.name, 1, sha256(b"\0" + leaf.encode()).digest()).signed([KEY])
    proven = {"position": 1, "version": 1, "leaf": leaf, "proof": str(LogProof(0, (), str(checkpoint).encode()))}
    page = at_console("auditor", pin=True)
    page.route("**/console/proof/events*", lambda route: route.fulfill(body=json.dumps([proven])))
    page.goto("/console/proof?position=1")
    expect(page.locator("article.proof.good .verdict")).to_have_text(
        f"Version 1 of order-1, {HOSTILE}, at position 1: verified"
    )
    assert is_harmless(page)


def test_a_refused_form_echoes_a_hostile_reason_as_text(at_console: Callable[..., Page], server: Server) -> None:
    order = place(server)
    page = at_console("staff", refused=True)
    page.goto(f"/console/orders/{order}")
    page.get_by_label("New status").select_option("declined")
    page.locator("#move-reason").fill(HOSTILE)
    assert server.command("pay", str(order)).returncode == 0  # meanwhile
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not done")
    expect(page.locator("#move-reason")).to_have_value(HOSTILE)
    assert is_harmless(page)


@pytest.mark.parametrize("host", HOSTS)
def test_no_other_origin_frames_the_console(
    at_console: Callable[..., Page], server: Server, elsewhere: Callable[[str, str], str], host: str
) -> None:
    page = at_console("admin", refused=True).context.new_page()
    frame = elsewhere(host, "<p>a frame that may be shown</p>")
    sources = (frame, f"{server.url}/console", f"{server.url}/console/orders", f"{server.url}/console/sign-in")
    page.goto(elsewhere(host, "".join(f"<iframe src='{source}'></iframe>" for source in sources)))
    shown = [frame.locator(":root").inner_text() for frame in page.frames[1:]]
    assert len(shown) == len(sources)
    assert shown[0] == "a frame that may be shown"
    for text in shown[1:]:
        assert not any(word in text for word in ("Overview", "Order ledger", "Orders", "Bearer token"))


@pytest.mark.parametrize("host", HOSTS)
def test_a_form_of_another_origin_changes_nothing(
    at_console: Callable[..., Page], server: Server, elsewhere: Callable[[str, str], str], host: str
) -> None:
    order = place(server)
    page = at_console("staff", refused=True)
    page.goto(f"/console/orders/{order}")
    token = page.locator("input[name=form_token]").first.input_value()
    fields = {"form_token": token, "version": "1", "status": "declined", "reason": "evil"}
    inputs = "".join(f"<input name={name} value='{value}'>" for name, value in fields.items())
    for target in (f"orders/{order}/status", "sign-out"):
        other = page.context.new_page()
        other.goto(
            elsewhere(
                host, f"<form method=post action='{server.url}/console/{target}'>{inputs}<button>Go</button></form>"
            )
        )
        with other.expect_response(f"{server.url}/console/{target}") as answer:
            other.get_by_role("button", name="Go").click()
        assert answer.value.status in {401, 403}
    page.reload()  # still signed in
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Order {order} pending")
