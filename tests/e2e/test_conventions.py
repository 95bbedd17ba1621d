"""The conventions beside the endpoints, against a real server with two workers: what clients and operators rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from ledger.storage import open_database
from projections.check import differences
from tests.support.server import Server, problem
from tests.support.wire import exchange

_users = count(1000)


class Api:
    """A user's view of the API."""

    def __init__(self, server: Server, user: int, role: str | None = None) -> None:
        self.user = user
        self._url = server.url
        self._session = server.client(user, role)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """One request; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.request(
            method, urljoin(self._url, path), json=body, headers=named, timeout=10, allow_redirects=False
        )

    def order(self, *cart: str, **headers: str) -> requests.Response:
        """Places an order."""
        return self.call("POST", "/orders/new", list(cart or ("1",)), **headers)

    def move(self, order_id: int, status: str, **headers: str) -> requests.Response:
        """Asks for a status."""
        return self.call("POST", "/orders/status-update", {"orderId": order_id, "status": status}, **headers)


@pytest.fixture(scope="module", autouse=True)
def sound_in_the_end(shared_server: Server) -> Iterator[None]:
    yield
    database = open_database(shared_server.environ["LEDGER_DATABASE_URL"])
    try:
        assert differences(database) == []
    finally:
        database.close()


@pytest.fixture
def customer(shared_server: Server) -> Api:
    """A customer nobody has seen before."""
    return Api(shared_server, next(_users))


@pytest.fixture
def staff(shared_server: Server) -> Api:
    return Api(shared_server, 9, "staff")


# --- Idempotency-Key


def test_a_repeat_answers_the_same_even_after_the_order_moved_on(customer: Api, staff: Api) -> None:
    first = customer.order("1", "2", Idempotency_Key="one")
    assert (first.status_code, "Idempotency-Replayed" in first.headers) == (201, False)
    id = first.json()["id"]
    assert staff.move(id, "Awaiting Payment").status_code == 200
    assert customer.move(id, "Cancelled").status_code == 200
    for key in ("one", '"one"'):
        again = customer.order("1", "2", Idempotency_Key=key)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        for name in ("ETag", "Location", "Content-Type"):
            assert again.headers[name] == first.headers[name]
        assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert len(customer.call("GET", "/orders").json()) == 1
    assert customer.call("GET", f"/orders/{id}").headers["ETag"] == '"3"'


def test_a_repeated_move_answers_the_same_after_the_next_one(customer: Api, staff: Api) -> None:
    id = customer.order().json()["id"]
    first = staff.move(id, "Awaiting Payment", Idempotency_Key=f"move-{id}")
    assert staff.move(id, "Payment Failed").status_code == 200
    again = staff.move(id, "Awaiting Payment", Idempotency_Key=f"move-{id}", If_Match='"1"')
    assert (again.status_code, again.content) == (200, first.content)
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert customer.call("GET", f"/orders/{id}").json()["status"] == "payment_failed"


def test_a_key_belongs_to_one_request(customer: Api) -> None:
    id = customer.order("1", Idempotency_Key="k").json()["id"]
    for reused in (customer.order("2", Idempotency_Key="k"), customer.move(id, "Cancelled", Idempotency_Key="k")):
        assert (reused.status_code, problem(reused)["type"]) == (422, "/problems/idempotency-key-reused")
    assert customer.call("GET", f"/orders/{id}").headers["ETag"] == '"1"'
    assert len(customer.call("GET", "/orders").json()) == 1


def test_keys_are_per_user(customer: Api, shared_server: Server) -> None:
    other = Api(shared_server, next(_users))
    ours, theirs = customer.order(Idempotency_Key="same"), other.order(Idempotency_Key="same")
    assert (ours.status_code, theirs.status_code) == (201, 201)
    assert ours.json()["id"] != theirs.json()["id"]
    assert "Idempotency-Replayed" not in theirs.headers


def test_the_same_body_written_differently_is_the_same_request(customer: Api, shared_server: Server) -> None:
    headers = {"Idempotency-Key": "spaces", "Content-Type": "application/json"}
    session, url = shared_server.client(customer.user), f"{shared_server.url}/orders/new"
    first = session.post(url, data=b'[{"id":1,"quantity":2}]', headers=headers, timeout=10)
    again = session.post(url, data=b' [ {"quantity": 2, "\\u0069d": 1} ]', headers=headers, timeout=10)
    assert (again.status_code, again.content) == (201, first.content)


def test_a_refused_request_does_not_use_up_its_key(customer: Api) -> None:
    assert customer.order("nothing", Idempotency_Key="again").status_code == 400
    made = customer.order("1", Idempotency_Key="again")
    assert (made.status_code, "Idempotency-Replayed" in made.headers) == (201, False)


@pytest.mark.parametrize("key", ["k" * 255, '"with spaces"', '"a\\"b"', "!#$%&'*+-.^_`|~/:@", '"' + "k" * 255 + '"'])
def test_keys_that_are_good(customer: Api, key: str) -> None:
    first, again = customer.order(Idempotency_Key=key), customer.order(Idempotency_Key=key)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)


# --- ETag, If-Match, If-None-Match


def test_a_tag_is_the_version(customer: Api, staff: Api) -> None:
    made = customer.order()
    path = made.headers["Location"]
    assert path == f"/orders/{made.json()['id']}"
    for version, status in enumerate(("pending", "awaiting_payment", "order_paid", "shipped", "completed"), 1):
        if version > 1:
            assert staff.move(made.json()["id"], status, If_Match=f'"{version - 1}"').status_code == 200
        detail = customer.call("GET", path)
        assert (detail.headers["ETag"], detail.json()["status"]) == (f'"{version}"', status)
        stale = staff.move(made.json()["id"], "cancelled", If_Match=f'"{version + 1}"')
        assert (stale.status_code, problem(stale)["type"]) == (412, "/problems/version-mismatch")


@pytest.mark.parametrize("tags", ['"1"', "*", '"0", "1"', '"1","2"', 'W/"1", "1"'])
def test_if_match_that_matches(customer: Api, tags: str) -> None:
    assert customer.move(customer.order().json()["id"], "Cancelled", If_Match=tags).status_code == 200


@pytest.mark.parametrize("tags", ['"2"', 'W/"1"', '"0", "2"', '"x"'])
def test_if_match_that_does_not(customer: Api, tags: str) -> None:
    id = customer.order().json()["id"]
    assert customer.move(id, "Cancelled", If_Match=tags).status_code == 412
    assert customer.call("GET", f"/orders/{id}").json()["status"] == "pending"


@pytest.mark.parametrize(
    ("tags", "status"), [('"1"', 304), ('W/"1"', 304), ("*", 304), ('"0", "1"', 304), ('"2"', 200), ("nonsense", 200)]
)
def test_if_none_match(customer: Api, tags: str, status: int) -> None:
    made = customer.order()
    answer = customer.call("GET", made.headers["Location"], If_None_Match=tags)
    assert (answer.status_code, answer.headers["ETag"]) == (status, '"1"')
    assert answer.content == (made.content if status == 200 else b"")


# --- paging


def pages(api: Api, query: str) -> list[list[dict[str, Any]]]:
    """Every page, by following the links."""
    found, path = [], f"/orders?{query}"
    while path:
        answer = api.call("GET", path)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        path = answer.links.get("next", {}).get("url", "")
    return found


def test_every_limit_leads_through_all_orders(customer: Api) -> None:
    ids = [customer.order().json()["id"] for _ in range(7)]
    for limit in range(1, 9):
        sizes = [limit] * (7 // limit) + ([7 % limit] if 7 % limit else [])
        found = pages(customer, f"limit={limit}")
        assert [len(page) for page in found] == sizes
        assert [order["id"] for page in found for order in page] == ids[::-1]
    whole = customer.call("GET", "/orders")
    assert (len(whole.json()), "Link" in whole.headers) == (7, False)
    assert whole.json() == [order for page in pages(customer, "limit=2") for order in page]


def test_a_filter_leads_through_its_status_alone(customer: Api) -> None:
    ids = [customer.order().json()["id"] for _ in range(6)]
    for id in ids[::2]:
        customer.move(id, "Cancelled")
    for spelled in ("cancelled", "Cancelled", "CANCELLED"):
        found = pages(customer, f"status={spelled}&limit=2")
        assert [[order["id"] for order in page] for page in found] == [[ids[4], ids[2]], [ids[0]]]
    assert [order["id"] for order in pages(customer, "status=Pending")[0]] == ids[1::2][::-1]
    assert pages(customer, "status=Order%20Paid&limit=1") == [[]]


def test_orders_that_come_meanwhile_do_not_disturb_paging(customer: Api) -> None:
    ids = [customer.order().json()["id"] for _ in range(3)]
    first = customer.call("GET", "/orders?limit=2")
    customer.order()
    second = customer.call("GET", first.links["next"]["url"])
    assert [order["id"] for order in first.json() + second.json()] == ids[::-1]


# --- request ids, methods


def test_request_ids(customer: Api) -> None:
    for path in ("/orders", "/nowhere", "/healthz", "/orders/demo-cart"):
        assert customer.call("GET", path, X_Request_Id="my-id:1/2=3").headers["X-Request-Id"] == "my-id:1/2=3"
        fresh = {customer.call("GET", path).headers["X-Request-Id"] for _ in range(3)}
        assert len(fresh) == 3
    refused = customer.order("nothing", X_Request_Id="seen")
    assert problem(refused)["requestId"] == "seen"


METHODS = {
    "/": "GET, HEAD, OPTIONS",
    "/orders": "GET, HEAD, OPTIONS",
    "/orders/demo-cart": "GET, HEAD, OPTIONS",
    "/orders/1": "GET, HEAD, OPTIONS",
    "/orders/new": "OPTIONS, POST",
    "/orders/status-update": "OPTIONS, POST",
    "/orders/1/payment": "GET, HEAD, OPTIONS",
    "/orders/1/refunds": "OPTIONS, POST",
    "/payments/create-payment-intent": "OPTIONS, POST",
    "/webhooks/stripe": "OPTIONS, POST",
    "/leads/statuses": "GET, HEAD, OPTIONS",
    "/leads/statuses/order": "OPTIONS, PUT",
    "/openapi.json": "GET, HEAD, OPTIONS",
    "/docs": "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/readyz": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize("path", METHODS)
def test_other_methods(customer: Api, path: str) -> None:
    allowed = METHODS[path].split(", ")
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allowed):
        answer = customer.call(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, METHODS[path])
        assert problem(answer)["type"] == "/problems/method-not-allowed"
    options = customer.call("OPTIONS", path)
    assert (options.status_code, options.content, options.headers["Allow"]) == (204, b"", METHODS[path])


@pytest.mark.parametrize(
    "path", [path for path, methods in METHODS.items() if "HEAD" in methods and path != "/metrics"]
)
def test_head_is_get_without_the_body(customer: Api, path: str) -> None:
    get, head = customer.call("GET", path), customer.call("HEAD", path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    for name in ("Content-Type", "Content-Length", "Cache-Control", "ETag"):
        assert head.headers.get(name) == get.headers.get(name), name


# --- documentation


def test_the_docs_page_needs_nothing_from_elsewhere(shared_server: Server) -> None:
    page = requests.get(f"{shared_server.url}/docs", timeout=10)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert not re.search(r"https?:|\*", policy)
    assert "default-src 'none'" in policy
    assert "//" not in page.text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) >= 5
    for path in assets:
        asset = requests.get(urljoin(shared_server.url, path), timeout=10)
        assert asset.status_code == 200, path
        assert asset.content
        if path.endswith(".css"):
            assert {url.split(":")[0].strip("\"'") for url in re.findall(r"url\(([^)]*)", asset.text)} <= {"data"}
            assert "@import" not in asset.text
    start = requests.get(f"{shared_server.url}/docs/assets/start.js", timeout=10).text
    assert "//" not in start
    assert "/openapi.json" in start
    # Swagger UI would otherwise show a badge from a validator on the internet.
    assert "validatorUrl: null" in start


def test_the_document_is_openapi_3_1(shared_server: Server) -> None:
    answer = requests.get(f"{shared_server.url}/openapi.json", timeout=10)
    document = answer.json()
    assert answer.headers["Content-Type"] == "application/json"
    assert document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {
        ("GET", "/orders"),
        ("GET", "/orders/demo-cart"),
        ("GET", "/orders/{orderId}"),
        ("POST", "/orders/new"),
        ("POST", "/orders/status-update"),
        ("GET", "/orders/{orderId}/payment"),
        ("POST", "/orders/{orderId}/refunds"),
        ("POST", "/payments/create-payment-intent"),
        ("POST", "/webhooks/stripe"),
        ("PUT", "/leads/statuses/order"),
        ("GET", "/leads/statuses"),
    } <= documented
    assert "://" not in answer.text.replace("https://shop.example/", "")  # the example of a receiver


def test_every_problem_type_explains_itself(customer: Api) -> None:
    document = problem(customer.order("nothing"))
    page = customer.call("GET", document["type"])
    assert (page.status_code, document["title"] in page.text) == (200, True)


# --- operation


def test_metrics_of_both_workers(shared_server: Server, customer: Api) -> None:
    def scraped() -> tuple[float, float]:
        answer = requests.get(f"{shared_server.url}/metrics", timeout=10)
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        creates = [s for s in families["http_requests"].samples if s.labels["route"] == "/orders/new"]
        assert families["http_request_duration_seconds"].type == "histogram"
        (head,) = families["ledger_head_position"].samples
        return sum(s.value for s in creates if s.labels["status"] == "201" and s.name.endswith("_total")), head.value

    before = scraped()
    for _ in range(20):
        # A connection each, so that both workers get some of them.
        assert Api(shared_server, customer.user).order().status_code == 201
    assert [scraped() for _ in range(10)] == [(before[0] + 20, before[1] + 20)] * 10


def test_probes(shared_server: Server) -> None:
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        answer = requests.get(f"{shared_server.url}{path}", timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"status": status})
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", [b"SCRIPT_NAME", b"PATH_INFO", b"REMOTE_USER", b"X_Forwarded_Prefix"])
def test_no_header_moves_the_routes(shared_server: Server, name: bytes) -> None:
    """Proxies on the same host are trusted with such headers by default; here nobody is."""
    for path in (b"/healthz", b"/zzz/healthz"):
        request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + name + b": /zzz\r\nConnection: close\r\n\r\n"
        assert exchange(shared_server.url, request).status in {200 if path == b"/healthz" else 404, 400, 403}
