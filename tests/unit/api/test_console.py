"""The console's pages: for whom they are, what browsers may do with them, and forms that only our own pages send."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.console.session import safe_target
from ledger.actor import Actor, Cause, Role
from ledger.errors import StorageUnavailable
from ledger.statuses import Status
from scripts.bootstrap import Runtime
from tests.support.cli import ROOT
from tests.unit.api.conftest import Tokens

PAGES = [
    "/console",
    "/console/orders",
    "/console/orders/1",
    "/console/log",
    "/console/log/1",
    "/console/proof",
    "/console/proof?order=1",
    "/console/proof/events?order=1",
]
FOR_AUDITORS = {"/console/log", "/console/log/1"}
ADMIN = Actor(91, Role.ADMIN)
HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(1)>'{{7*7}}"""


def form_token(page: TestResponse) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', page.text)
    assert found is not None, page.text
    return found[1]


@pytest.fixture
def order(client: FlaskClient, alice: dict[str, str]) -> int:
    """An order of one mug and a shirt."""
    created = client.post("/orders/new", headers=alice, json=["2", "1"])
    return int(created.get_json()["id"])


@pytest.fixture
def signed_in(app: Any, tokens: Tokens) -> Callable[..., FlaskClient]:
    """A browser of somebody who has signed in by the form."""

    def sign_in(role: str = "staff", user: int = 90) -> FlaskClient:
        browser = app.test_client()
        token = tokens.make(user, role=role)
        sent = {"token": token, "next": "/console", "form_token": form_token(browser.get("/console/sign-in"))}
        answer = browser.post("/console/sign-in", data=sent)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/console")
        return browser

    return sign_in


def send(browser: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Sends a form of an order's page, with the token and the version that the page has."""
    page = browser.get(path.rpartition("/")[0])
    return browser.post(path, data={"form_token": form_token(page), "version": version_in(page), **fields})


def version_in(page: TestResponse) -> str:
    """The order's version as the page's forms have it; "1" when it has none, as auditors' pages."""
    found = re.search(r'name="version" value="(\d+)"', page.text)
    return found[1] if found else "1"


# --- Who sees what ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("role", ["auditor", "staff", "admin"])
def test_pages_are_for_their_roles(signed_in: Any, path: str, role: str) -> None:
    answer = signed_in(role).get(path)

    allowed = role != "staff" or path not in FOR_AUDITORS
    assert answer.status_code == (200 if allowed else 403), answer.text[:500]
    assert ("Log</a>" in answer.text) == (role != "staff" and "events" not in path)


@pytest.mark.parametrize("path", [*PAGES, "/console/proof/export", "/console/nowhere"])
def test_without_signing_in_there_is_nothing_but_the_sign_in(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/console/sign-in")
    assert answer.data == b""


def test_what_no_page_is_reached_with_is_said_on_a_page(client: FlaskClient, signed_in: Any) -> None:
    refused = (("PUT", "/console", 405), ("PUT", "/console/orders", 405), ("GET", "/console//", 404))
    for browser in (client, signed_in()):
        for method, path, status in refused:
            answer = browser.open(path, method=method)
            assert (answer.status_code, answer.mimetype) == (status, "text/html")
            assert ("Allow" in answer.headers) is (status == 405)
    assert client.get("/consolation").mimetype == "application/problem+json"
    assert client.head("/console/orders").status_code == 303


def test_customers_and_bad_tokens_do_not_get_in(app: Any, tokens: Tokens, clock: Any) -> None:
    browser = app.test_client()
    for token in (
        tokens.make(1),
        tokens.make(1, role="nobody"),
        tokens.make(1, role="staff", exp=1),
        tokens.make(1, role="staff", key="another secret that is as long as it has to be"),
        "nonsense",
        "",
        "x" * 5000,
    ):
        page = browser.get("/console/sign-in")
        answer = browser.post("/console/sign-in", data={"token": token, "form_token": form_token(page)})
        assert answer.status_code == 401, token
        assert "The bearer token is refused" in unescape(answer.text)
        assert browser.get("/console").status_code == 303
        assert token == "" or token not in answer.text


def test_a_token_that_expires_ends_the_session(signed_in: Any, clock: Any) -> None:
    browser = signed_in()
    assert browser.get("/console").status_code == 200
    clock.advance(7200)
    assert browser.get("/console").status_code == 303


def test_keys_that_can_not_be_fetched_are_said_and_not_taken_for_a_fault(
    runtime: Runtime, clock: Any, tokens: Tokens
) -> None:
    from api.app import create_app
    from api.auth import TokenPolicy, TokenVerifier
    from api.problems import Refusal
    from tests.unit.api.conftest import SECRET

    class Unfetched(TokenVerifier):
        def verify(self, token: str) -> Actor:
            raise Refusal("keys-unavailable", "The keys can't be fetched.")

    browser = create_app(runtime.services, Unfetched(TokenPolicy(secret=SECRET), clock)).test_client()
    page = browser.get("/console/sign-in")
    sent = {"token": tokens.make(9, role="staff"), "form_token": form_token(page)}
    browser.set_cookie("console-session", tokens.make(9, role="staff"))
    answers = [browser.get("/console"), browser.post("/console/sign-out"), browser.post("/console/sign-in", data=sent)]
    assert [answer.status_code for answer in answers] == [503, 403, 503]
    assert all(answer.mimetype == "text/html" for answer in answers)


def test_who_acts_for_somebody_is_named(client: FlaskClient, tokens: Tokens) -> None:
    sent = {"token": tokens.make(9, role="staff", act={"sub": "5"})}
    client.post("/console/sign-in", data={**sent, "form_token": form_token(client.get("/console/sign-in"))})
    assert "staff 9 by 5" in client.get("/console").text


def test_signing_out(signed_in: Any) -> None:
    browser = signed_in()
    answer = browser.post("/console/sign-out", data={"form_token": form_token(browser.get("/console"))})
    assert answer.headers["Location"] == "/console/sign-in"
    assert browser.get("/console").status_code == 303


def test_cookies_are_for_this_console_alone(make_app: Any, tokens: Tokens, runtime: Runtime, clock: Any) -> None:
    from api.app import create_app
    from api.auth import TokenPolicy, TokenVerifier
    from tests.unit.api.conftest import SECRET

    for secure in (True, False):
        verifier = TokenVerifier(TokenPolicy(secret=SECRET), clock)
        browser = create_app(runtime.services, verifier, secure_cookies=secure).test_client()
        base = "https://localhost" if secure else "http://localhost"
        page = browser.get("/console/sign-in", base_url=base)
        sent = {"token": tokens.make(9, role="staff"), "form_token": form_token(page)}
        answer = browser.post("/console/sign-in", data=sent, base_url=base)
        for cookie in (*page.headers.getlist("Set-Cookie"), *answer.headers.getlist("Set-Cookie")):
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert "Path=/" in cookie
            assert cookie.startswith("__Host-console-" if secure else "console-")
            assert ("; Secure" in cookie) == secure
            assert "Domain" not in cookie


# --- Forms that others send ---------------------------------------------------------------------------------------


def test_a_form_needs_the_token_of_its_session(signed_in: Any, order: int, runtime: Runtime) -> None:
    browser, other = signed_in(), signed_in("admin", 91)
    fields = {"status": "cancelled", "reason": "because", "version": "1"}
    foreign = form_token(other.get("/console"))
    ours = form_token(browser.get("/console"))
    for sent, headers in (
        ({}, {}),
        ({"form_token": ""}, {}),
        ({"form_token": "0" * 64}, {}),
        ({"form_token": "é"}, {}),
        ({"form_token": foreign}, {}),
        ({"form_token": ours}, {"Origin": "https://evil.example"}),
        ({"form_token": ours}, {"Origin": "http://["}),
        ({"form_token": ours}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form_token": ours}, {"Sec-Fetch-Site": "same-site"}),
        ({"form_token": ours}, {"Origin": "null", "Sec-Fetch-Site": "cross-site"}),
    ):
        for path in (f"/console/orders/{order}/status", f"/console/orders/{order}/refunds", "/console/sign-out"):
            answer = browser.post(path, data={**fields, **sent}, headers=headers)
            assert answer.status_code == 403
            assert "Form refused" in answer.text
    assert runtime.services.health.head() == 1
    assert browser.get("/console").status_code == 200


def test_signing_in_needs_a_form_of_ours_too(app: Any, tokens: Tokens) -> None:
    browser = app.test_client()
    sent = {"token": tokens.make(9, role="staff")}
    assert browser.post("/console/sign-in", data=sent).status_code == 403
    browser.get("/console/sign-in")
    assert browser.post("/console/sign-in", data={**sent, "form_token": "0" * 64}).status_code == 403
    assert browser.get("/console").status_code == 303


@pytest.mark.parametrize("planted", ["x" * 5000, "a b", "é", '"'])
def test_a_visit_that_is_none_of_ours_is_not_gone_on_with(app: Any, planted: str) -> None:
    browser = app.test_client(use_cookies=False)
    page = browser.get("/console/sign-in", headers={"Cookie": f"console-visit={planted}"})
    [cookie] = page.headers.getlist("Set-Cookie")
    assert re.match(r"console-visit=[A-Za-z0-9_-]{43};", cookie)


def test_signing_in_replaces_whatever_was_planted(app: Any, signed_in: Any, tokens: Tokens) -> None:
    victim = app.test_client()
    victim.set_cookie("console-visit", "planted")
    victim.set_cookie("console-session", tokens.make(66, role="staff"))
    page = victim.get("/console/sign-in")
    mine = tokens.make(9, role="auditor")
    answer = victim.post("/console/sign-in", data={"token": mine, "form_token": form_token(page)})
    assert answer.status_code == 303
    assert "auditor 9" in victim.get("/console").text
    # The token of the form from before is good for nothing now.
    assert victim.post("/console/sign-out", data={"form_token": form_token(page)}).status_code == 403


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        (None, "/console"),
        ("/console", "/console"),
        ("/console/orders/7?version=2", "/console/orders/7?version=2"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/console//evil.example", "/console"),
        ("/console/../orders", "/console"),
        ("/consolation", "/console"),
        ("/console\\evil", "/console"),
        ("/console/\r\nSet-Cookie: a=b", "/console"),
        ("/console/sign-in?next=/console/sign-in", "/console"),
        ("javascript:alert(1)", "/console"),
        ("/orders", "/console"),
    ],
)
def test_signing_in_leads_nowhere_else(target: str | None, goes: str) -> None:
    assert safe_target(target) == goes


def test_after_signing_in_one_is_where_one_wanted_to_be(client: FlaskClient, tokens: Tokens) -> None:
    asked = client.get("/console/orders?user=7&status=shipped")
    page = client.get(asked.headers["Location"])
    target = re.search(r'name="next" value="([^"]*)"', page.text)
    assert target is not None
    sent = {"token": tokens.make(9, role="staff"), "form_token": form_token(page), "next": unescape(target[1])}
    assert client.post("/console/sign-in", data=sent).headers["Location"] == "/console/orders?user=7&status=shipped"


# --- What pages say -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize(
    "path",
    [
        *PAGES,
        "/console/sign-in",
        "/console/nowhere",
        "/console/orders/99",
        "/console/orders/x",
        "/console/orders/9999999999999999",
        "/console/log/9999999999999999",
        "/console/log/x",
    ],
)
def test_browsers_are_told_what_pages_need(signed_in: Any, path: str) -> None:
    answer = signed_in("auditor").get(path)

    assert answer.headers["Cache-Control"] == "no-store"
    if "events" in path:
        return
    assert answer.mimetype == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)
    assert not re.search(r'(src|href|action)="(https?:)?//', answer.text)
    for name in re.findall(r'(?:src|href)="(/console/assets/[^"]+)"', answer.text):
        assert signed_in().get(name).status_code == 200


def test_assets_are_kept_for_ever_and_nothing_else_is_served(client: FlaskClient) -> None:
    page = client.get("/console/sign-in").text
    sheet = re.search(r'href="(/console/assets/[^"]+\.css)"', page)
    assert sheet is not None
    answer = client.get(sheet[1])
    assert (answer.status_code, answer.mimetype) == (200, "text/css")
    assert "immutable" in answer.headers["Cache-Control"]
    assert "immutable" not in client.get("/console/assets/000000000000/console.css").headers["Cache-Control"]
    served = sheet[1].rpartition("/")[0]
    for name in ("base.html", "../session.py", "..%2fsession.py", "pages.py", "__init__.py"):
        assert client.get(f"{served}/{name}").status_code in {303, 404}


def test_hostile_texts_are_texts(app: Any, signed_in: Any, runtime: Runtime, order: int) -> None:
    with runtime.database.write() as cursor:
        [(document,)] = cursor.execute("SELECT document FROM orders")
        escaped = HOSTILE.replace('"', '\\"')
        cursor.execute("UPDATE orders SET document = ?", (document.replace("Stoneware Mug, 350 ml", escaped),))
        cursor.execute("UPDATE events SET body = replace(body, 'Stoneware Mug, 350 ml', ?)", (escaped,))
    moved = send(signed_in("admin"), f"/console/orders/{order}/status", status="declined", reason=HOSTILE)
    assert moved.status_code == 303
    browser = signed_in("auditor")
    pages = [
        browser.get(path).text
        for path in (
            f"/console/orders/{order}",
            "/console/log",
            "/console/log/1",
            "/console/log/2",
            f"/console/proof?order={order}",
            f"/console/orders?user={HOSTILE}&status={HOSTILE}&from={HOSTILE}&min={HOSTILE}&id={HOSTILE}",
            f"/console/log?stream={HOSTILE}&type={HOSTILE}&user={HOSTILE}",
            f"/console/proof?order={HOSTILE}&position={HOSTILE}",
            f"/console/{HOSTILE}",
            f"/console/sign-in?next={HOSTILE}",
        )
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert HOSTILE in unescape(pages[0])


def test_the_search(signed_in: Any, client: FlaskClient, tokens: Tokens) -> None:
    for user in (1, 1, 2):
        client.post("/orders/new", headers=tokens.headers(user), json=["1"] * user)
    browser = signed_in()

    def found(query: str) -> list[str]:
        answer = browser.get(f"/console/orders?{query}")
        assert answer.status_code == 200, answer.text
        return re.findall(r'href="/console/orders/(\d+)"', answer.text)

    assert found("") == ["3", "2", "1"]
    assert found("user=1") == ["2", "1"]
    assert found("status=pending&user=2") == ["3"]
    assert found("status=shipped") == []
    assert found("min=20.00") == ["3"]
    assert found("max=19.99") == ["2", "1"]
    assert found("from=2000-01-01&to=2999-12-31") == ["3", "2", "1"]
    assert found("to=2000-01-01") == []
    assert found("before=3") == ["2", "1"]
    assert browser.get("/console/orders?id=2").headers["Location"] == "/console/orders/2"
    for wrong in ("user=x", "status=x", "from=31.1.2026", "min=1.5", "id=x", "user=99999999999999999"):
        assert 'class="fault"' in browser.get(f"/console/orders?{wrong}").text, wrong


def test_what_staff_does_is_done_to_the_order_as_it_is(signed_in: Any, order: int, runtime: Runtime) -> None:
    runtime.services.ledger.change_status(order, Status.AWAITING_PAYMENT, actor=ADMIN, cause=Cause())
    browser, form = signed_in(), f'action="/console/orders/{order}/status"'
    assert form in browser.get(f"/console/orders/{order}").text
    assert form in browser.get(f"/console/orders/{order}?version=2").text
    assert form not in browser.get(f"/console/orders/{order}?version=1").text


def test_an_order_as_it_was(signed_in: Any, order: int, runtime: Runtime) -> None:
    runtime.services.ledger.change_status(order, Status.DECLINED, actor=ADMIN, cause=Cause())
    browser = signed_in("auditor")

    now, then = browser.get(f"/console/orders/{order}").text, browser.get(f"/console/orders/{order}?version=1").text
    assert '<h1>Order 1 <span class="badge declined">' in now
    assert '<h1>Order 1 <span class="badge pending">' in then
    assert "As it was at version 1" in then
    for version in ("99", "0", "x", ""):
        missing = browser.get(f"/console/orders/{order}?version={version}")
        assert (missing.status_code, f"Order {order} has versions 1 to 2." in missing.text) == (404, True)
    assert browser.get("/console/orders/99").status_code == 404
    assert "Move it" not in now


# --- What staff does ----------------------------------------------------------------------------------------------


def items(page: TestResponse) -> list[str]:
    """What the timeline says below each event."""
    return [unescape(found) for found in re.findall(r"<li>((?:(?!</?li>).)*)</li>", page.text)]


def test_the_timeline_says_what_was_told_of_the_payment(signed_in: Any, order: int, runtime: Runtime) -> None:
    ledger, detail = runtime.services.ledger, "insufficient_funds"
    failed = runtime.sandbox.settle(order, fail=True)  # type: ignore[union-attr]
    for second in (1, 2):
        told = replace(failed, detail=detail, occurred_at=f"2026-01-01T00:00:0{second}.000000Z")
        ledger.record_payment(told, actor=ADMIN, cause=Cause())
    browser = signed_in()
    assert items(browser.get(f"/console/orders/{order}")).count(f"notice: failed, 34.49 usd, {detail}") == 2

    ledger.record_payment(replace(failed, detail=HOSTILE), actor=ADMIN, cause=Cause())
    shown = browser.get(f"/console/orders/{order}").text
    assert f"34.49 usd, {HOSTILE}" in unescape(shown)
    assert "<script>alert" not in shown
    assert "<img src=x" not in shown


def test_the_timeline_names_refunds(signed_in: Any, paid: int, runtime: Runtime) -> None:
    browser = signed_in()
    assert send(browser, f"/console/orders/{paid}/refunds", amount="5.00", reason="A dent").status_code == 303
    intent_id = runtime.services.history.of(paid, ADMIN)[0].data["payment_intent_id"]  # type: ignore[index]
    [refund] = runtime.gateway.list_refunds(intent_id)
    shown = items(browser.get(f"/console/orders/{paid}"))
    assert f"notice: refund, 5.00 usd, succeeded, {refund.id}" in shown
    assert "notice: received, 34.49 usd" in shown


def test_whoever_gives_a_reason_is_told_who_reads_it(
    signed_in: Any, paid: int, client: FlaskClient, alice: Any
) -> None:
    browser = signed_in()
    page = browser.get(f"/console/orders/{paid}").text
    assert page.count("kept in the log for good, and the customer can read it: name no person") == 2
    assert send(browser, f"/console/orders/{paid}/refunds", amount="5.00", reason="A dent").status_code == 303
    history = client.get(f"/orders/{paid}/history", headers=alice).get_json()
    assert history[-1]["cause"]["reason"] == "A dent"


def test_a_move_belongs_to_its_trace(signed_in: Any, order: int, runtime: Runtime) -> None:
    browser, trace = signed_in(), "0af7651916cd43dd8448eb211c80319c"
    page = browser.get(f"/console/orders/{order}")
    sent = {"form_token": form_token(page), "version": "1", "status": "declined", "reason": "x"}
    browser.post(
        f"/console/orders/{order}/status", data=sent, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    )
    assert runtime.services.history.of(order, ADMIN)[-1].cause["trace_id"] == trace  # type: ignore[index]


def test_whoever_is_signed_in_is_counted(runtime: Runtime, clock: Any, tokens: Tokens) -> None:
    from api.app import create_app
    from api.auth import TokenPolicy, TokenVerifier
    from api.limits import LimitPolicy
    from tests.unit.api.conftest import SECRET

    verifier = TokenVerifier(TokenPolicy(secret=SECRET), clock)
    app = create_app(runtime.services, verifier, limits=LimitPolicy(user="3/hour"))
    browser, other = app.test_client(), app.test_client()
    for each, user in ((browser, 90), (other, 91)):
        each.set_cookie("console-session", tokens.make(user, role="staff"))
    answers = [browser.get("/console") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].mimetype == "text/html"
    assert "Too many requests" in answers[3].text
    assert int(answers[3].headers["Retry-After"]) > 0
    assert browser.get("/orders", headers=tokens.headers(90, role="staff")).status_code == 429
    assert other.get("/console").status_code == 200
    assert app.test_client().get("/console/sign-in").status_code == 200


def test_staff_moves_an_order_and_says_why(signed_in: Any, order: int, runtime: Runtime) -> None:
    browser = signed_in()
    answer = send(browser, f"/console/orders/{order}/status", status="awaiting_payment", reason="They pay by bank")

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/orders/{order}")
    entry = runtime.services.history.of(order, ADMIN)[-1]  # type: ignore[index]
    assert entry.status is Status.AWAITING_PAYMENT
    assert entry.actor == {"user": 90, "role": "staff"}
    assert entry.cause["reason"] == "They pay by bank"
    assert "They pay by bank" in browser.get(f"/console/orders/{order}").text


@pytest.fixture
def paid(order: int, runtime: Runtime) -> int:
    """The same order, paid."""
    intent = runtime.sandbox.settle(order)  # type: ignore[union-attr]
    runtime.services.ledger.record_payment(intent, actor=ADMIN, cause=Cause())
    return order


def refunded(runtime: Runtime, order: int) -> int:
    return runtime.services.payments.summary(order, ADMIN).refunded  # type: ignore[union-attr]


def test_a_form_that_is_sent_twice_counts_once(signed_in: Any, paid: int, runtime: Runtime) -> None:
    browser = signed_in()
    page = browser.get(f"/console/orders/{paid}")
    sent = {"form_token": form_token(page), "version": version_in(page), "amount": "5.00", "reason": "A dent"}
    for _ in range(3):
        assert browser.post(f"/console/orders/{paid}/refunds", data=sent).status_code == 303
    other = browser.post(f"/console/orders/{paid}/refunds", data={**sent, "amount": "6.00"})
    assert (other.status_code, refunded(runtime, paid)) == (422, 500)
    assert "look at it as it is now" in other.text

    assert send(browser, f"/console/orders/{paid}/refunds", amount="6.00", reason="Another").status_code == 303
    assert refunded(runtime, paid) == 1100


def test_two_who_refund_from_the_same_page_refund_once(signed_in: Any, paid: int, runtime: Runtime) -> None:
    one, other = signed_in(user=90), signed_in(user=91)
    pages = [browser.get(f"/console/orders/{paid}") for browser in (one, other)]
    answers = [
        browser.post(
            f"/console/orders/{paid}/refunds",
            data={"form_token": form_token(page), "version": version_in(page), "amount": "5.00", "reason": "A dent"},
        )
        for browser, page in zip((one, other), pages, strict=True)
    ]
    assert [answer.status_code for answer in answers] == [303, 412]
    assert refunded(runtime, paid) == 500
    assert "Not done: The order has changed" in answers[1].text
    assert version_in(answers[1]) == "4"  # who has seen what was done may send it again


def test_a_mistake_on_a_page_that_is_left_behind_does_not_bring_it_up_to_date(
    signed_in: Any, paid: int, runtime: Runtime
) -> None:
    one, other = signed_in(user=90), signed_in(user=91)
    behind = one.get(f"/console/orders/{paid}")
    assert send(other, f"/console/orders/{paid}/refunds", amount="5.00", reason="A dent").status_code == 303
    sent = {"form_token": form_token(behind), "version": version_in(behind), "reason": "A dent"}
    for action, mistake in (("refunds", {"amount": "5,0"}), ("refunds", {"amount": "1", "reason": ""}), ("status", {})):
        mistaken = one.post(f"/console/orders/{paid}/{action}", data={**sent, **mistake})
        assert (mistaken.status_code, version_in(mistaken)) == (400, "3")
    again = one.post(f"/console/orders/{paid}/refunds", data={**sent, "amount": "5.00"})
    assert (again.status_code, refunded(runtime, paid)) == (412, 500)


def test_a_refund_whose_outcome_was_lost_is_not_made_twice(
    make_app: Any, signed_in: Any, paid: int, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    class Losing:
        """Loses what is to be appended: the gateway has refunded by then."""

        def __getattr__(self, name: str) -> Any:
            return getattr(runtime.services.ledger, name)

        def refund_order(self, *arguments: Any, **by_name: Any) -> Any:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(runtime.services.ledger, "save", lambda *_: raise_gone())
                return runtime.services.ledger.refund_order(*arguments, **by_name)

    def raise_gone() -> None:
        raise StorageUnavailable("no route to host db.internal")

    browser = signed_in()
    losing = make_app(ledger=Losing()).test_client()
    losing.set_cookie("console-session", browser.get_cookie("console-session").value)
    sent = {"amount": "5.00", "reason": "A dent"}
    lost = send(losing, f"/console/orders/{paid}/refunds", **sent)
    assert lost.status_code == 503
    assert "It may not have been done" in lost.text
    assert "db.internal" not in lost.text
    assert "db.internal" in caplog.text

    assert "it counts once" in lost.text

    # By a colleague whose page shows no refund, from the page of the failure, and for another amount: it is seen first.
    colleague = signed_in(user=91)
    shown = colleague.get(f"/console/orders/{paid}")
    assert "refund," not in shown.text
    for who, page, amount in ((colleague, shown, "5.00"), (browser, lost, "5.00"), (browser, lost, "")):
        again = who.post(
            f"/console/orders/{paid}/refunds",
            data={"form_token": form_token(page), "version": version_in(page), "amount": amount, "reason": "A dent"},
        )
        assert (again.status_code, refunded(runtime, paid)) == (412, 500)
        assert "The order has changed" in again.text
        assert "notice: refund, 5.00 usd, succeeded" in again.text
    intent = runtime.services.history.of(paid, ADMIN)[0].data["payment_intent_id"]  # type: ignore[index]
    assert [each.amount for each in runtime.gateway.list_refunds(intent)] == [500]
    assert send(browser, f"/console/orders/{paid}/refunds", **sent).status_code == 303
    assert refunded(runtime, paid) == 1000


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "shipped", "reason": "x"}, "can't become shipped"),
        ({"status": "nonsense", "reason": "x"}, "There is no status"),
        ({"status": "declined", "reason": ""}, "Say why"),
        ({"status": "declined", "reason": "x" * 501}, "Say why"),
        ({"status": "declined", "reason": "two\nlines"}, "Say why"),
        ({"status": "declined", "reason": "x", "version": ""}, "load the page again"),
        ({"status": "declined", "reason": "x", "version": "7"}, "The order has changed"),
    ],
)
def test_moves_that_are_refused_change_nothing(
    signed_in: Any, order: int, runtime: Runtime, fields: dict[str, str], told: str
) -> None:
    answer = send(signed_in(), f"/console/orders/{order}/status", **fields)

    assert 400 <= answer.status_code < 500
    assert told in unescape(answer.text)
    assert runtime.services.health.head() == 1


@pytest.mark.parametrize("amount", ["-1", "1.555", "abc", "999999999999", "0.00"])
def test_refunds_that_are_refused_change_nothing(signed_in: Any, paid: int, runtime: Runtime, amount: str) -> None:
    before = runtime.services.health.head()
    answer = send(signed_in(), f"/console/orders/{paid}/refunds", amount=amount, reason="x")

    assert 400 <= answer.status_code < 500
    assert "Not done" in answer.text
    assert runtime.services.health.head() == before


def test_auditors_change_nothing(signed_in: Any, order: int, runtime: Runtime) -> None:
    browser = signed_in("auditor", 92)
    for path in ("status", "refunds"):
        answer = send(browser, f"/console/orders/{order}/{path}", status="declined", reason="x")
        assert answer.status_code == 403
    assert runtime.services.health.head() == 1


def test_what_auditors_look_at_is_logged(signed_in: Any, order: int, caplog: Any) -> None:
    browser = signed_in("auditor", 92)
    browser.get(f"/console/orders/{order}?version=1")
    assert f'"path": "/console/orders/{order}", "query": "version=1"' in caplog.text


# --- The log and the proofs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        *("[]", "null", "{", '{"actor":[],"cause":"x"}', '{"actor":5,"cause":5}'),
        *('{"a":"\\ud800"}', '{"actor":{"role":"\\udfff"},"cause":{"reason":"\\ud800"}}'),
        pytest.param("[" * 5000, id="deep"),
    ],
)
def test_an_event_that_was_written_over_can_be_looked_at(
    signed_in: Any, runtime: Runtime, order: int, body: str, caplog: Any
) -> None:
    with runtime.database.write() as cursor:
        cursor.execute("UPDATE events SET body = ?", (body,))
    browser = signed_in("auditor")
    for path in ("/console/log", "/console/log/1"):
        assert browser.get(path).status_code == 200
    page = browser.get(f"/console/orders/{order}")
    assert page.status_code == 500
    said = f"The event at position 1 (OrderCreated, order-{order} version 1) can't be read"
    assert said in unescape(page.text)
    assert "The log shows it" in page.text
    assert said in caplog.text
    assert "The log shows it" not in signed_in("staff").get(f"/console/orders/{order}").text  # who may not read that


@pytest.mark.usefixtures("order")
def test_the_log_s_pages(signed_in: Any) -> None:
    browser = signed_in("auditor")

    assert "OrderCreated" in browser.get("/console/log").text
    assert "Nothing was found at positions 1 to 1." in browser.get("/console/log?type=StatusChanged").text
    assert "OrderCreated</td>" not in browser.get("/console/log?type=StatusChanged").text
    for unfit in ("type=x", "user=x", "stream=x"):
        refused = browser.get(f"/console/log?{unfit}").text
        assert 'data-live="no"' in refused
        assert "OrderCreated</td>" not in refused
    assert "OrderCreated</td>" in browser.get("/console/log?user=1&stream=order-1").text
    event = browser.get("/console/log/1")
    assert "Stoneware Mug" in event.text
    assert "Leaf hash" in event.text
    assert browser.get("/console/log/2").status_code == 404
    assert browser.get("/console/log/stream?after=9").status_code == 404


@pytest.mark.usefixtures("order")
def test_an_export_does_not_outlive_its_server_nor_seem_whole(runtime: Runtime, clock: Any, tokens: Tokens) -> None:
    from api.app import create_app
    from api.auth import TokenPolicy, TokenVerifier
    from tests.unit.api.conftest import SECRET

    app = create_app(runtime.services, TokenVerifier(TokenPolicy(secret=SECRET), clock), stopping=lambda: True)
    browser = app.test_client()
    browser.set_cookie("console-session", tokens.make(90, role="auditor"))
    with pytest.raises(ConnectionResetError):
        browser.get("/console/proof/export")


@pytest.mark.usefixtures("order")
def test_the_export_is_that_of_the_command(signed_in: Any, runtime: Runtime) -> None:
    from ledger.storage.recorder import read_log
    from ledger.transparency.lines import encode_line

    answer = signed_in("auditor").get("/console/proof/export")
    exported = answer.text
    with runtime.database.snapshot() as cursor:
        assert exported == "".join(map(encode_line, read_log(cursor)))
    assert "attachment" in answer.headers["Content-Disposition"]
    assert signed_in("staff").get("/console/proof/export").status_code == 403
    offered = "verify_export.py"
    assert offered in signed_in("auditor").get("/console/proof").text
    assert offered not in signed_in("staff").get("/console/proof").text
    assert signed_in("auditor").get("/console/proof/checkpoint").status_code == 404


def test_the_verifier_is_that_of_the_source(signed_in: Any, client: FlaskClient) -> None:
    answer = signed_in("staff").get("/console/proof/verify_export.py")
    assert answer.data == (ROOT / "scripts" / "verify_export.py").read_bytes()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="verify_export.py"'
    assert client.get("/console/proof/verify_export.py").status_code == 303


@pytest.mark.usefixtures("order")
def test_proofs_are_those_of_the_api(signed_in: Any, client: FlaskClient, tokens: Tokens) -> None:
    browser = signed_in("auditor")
    ours = browser.get("/console/proof/events?order=1").get_json()
    assert ours == client.get("/orders/1/proof", headers=tokens.headers(92, role="auditor")).get_json()
    assert browser.get("/console/proof/events?position=1").get_json() == ours
    assert browser.get("/console/proof/events?position=9").status_code == 404
    assert signed_in("staff").get("/console/proof/events?position=1").status_code == 404
    assert browser.get("/console/proof/consistency?from=0&to=9").status_code == 404
    assert browser.get("/console/proof/consistency?from=x").status_code == 404


# --- The overview -------------------------------------------------------------------------------------------------


def test_the_overview(signed_in: Any, order: int, clock: Any) -> None:
    browser = signed_in("auditor")
    shown = unescape(browser.get("/console").text)
    assert "Orders placed per minute, and their status now" in shown
    assert "Those of all 1 orders that were placed since " in shown
    assert re.search(r"<title>\d{4}-\d\d-\d\d \d\d:\d\d: 1 pending</title>", shown)
    assert "nothing was signed: is there a key?" in shown
    assert "order-ledger check" in shown


def test_the_overview_of_nothing(signed_in: Any) -> None:
    assert "There are no orders yet." in signed_in().get("/console").text


def test_the_overview_says_what_is_wrong(signed_in: Any, order: int, runtime: Runtime) -> None:
    with runtime.database.write() as cursor:
        cursor.execute("UPDATE orders SET version = 7")
    shown = signed_in().get("/console").text
    assert "Not as it should be" in shown
    assert "A view differs from the end of the log" in shown
