"""The registry of webhook endpoints over HTTP. What is delivered to them is in tests/conformance/test_webhooks.py."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.bootstrap import Runtime

PATH = "/webhook-endpoints"
URL = "https://93.184.216.34/hooks"


@pytest.fixture
def admin(tokens: Any) -> Any:
    return tokens.headers(91, role="admin")


def add(client: Any, admin: Any, **body: Any) -> Any:
    response = client.post(PATH, headers=admin, json={"url": URL, **body})
    assert response.status_code == 201, response.text
    return response.json


def test_an_endpoint_from_beginning_to_end(client: Any, admin: Any) -> None:
    added = add(client, admin, types=["order.created"], after=0)
    secret = added.pop("secret")

    assert secret.startswith("whsec_")
    assert client.get(PATH, headers=admin).json == [added]
    assert {name: value for name, value in added.items() if name not in ("id", "createdAt")} == {
        "url": URL,
        "types": ["order.created"],
        "position": 0,
        "disabled": None,
        "delivered": 0,
        "waiting": 0,
        "failing": 0,
        "dead": 0,
        "error": None,
    }
    one = f"{PATH}/{added['id']}"
    rotated = client.post(f"{one}/rotate", headers=admin)
    assert rotated.json["secret"] != secret
    assert rotated.headers["Cache-Control"] == "no-store"
    assert client.post(f"{one}/enable", headers=admin).json == added
    assert client.get(f"{one}/dead", headers=admin).json == []
    assert client.post(f"{one}/replay", headers=admin).json == {"replayed": 0}
    removed = client.delete(one, headers=admin)
    assert (removed.status_code, removed.data) == (204, b"")
    assert client.get(PATH, headers=admin).json == []


ROUTES = [
    ("GET", PATH),
    ("POST", PATH),
    ("DELETE", f"{PATH}/ep_0"),
    ("POST", f"{PATH}/ep_0/rotate"),
    ("POST", f"{PATH}/ep_0/enable"),
    ("GET", f"{PATH}/ep_0/dead"),
    ("DELETE", f"{PATH}/ep_0/dead"),
    ("POST", f"{PATH}/ep_0/replay"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("role", [None, "customer", "staff", "auditor"])
def test_they_are_for_admins(client: Any, tokens: Any, role: str | None, method: str, path: str) -> None:
    headers = {} if role is None else tokens.headers(1, role=role)
    response = client.open(path, method=method, headers=headers)

    assert response.status_code == (401 if role is None else 403)


@pytest.mark.parametrize(("method", "path"), [each for each in ROUTES if each[1] != PATH])
@pytest.mark.parametrize("id", ["ep_0", "ep_" + "0" * 18, "%00", "ep_" + "0" * 17 + "%00", "%ED%A0%80", "%F0%9F%90%99"])
def test_an_endpoint_that_is_not_there(client: Any, admin: Any, method: str, path: str, id: str) -> None:
    response = client.open(path.replace("ep_0", id), method=method, headers=admin)

    assert response.status_code == 404
    assert response.json["type"] == "/problems/no-such-endpoint"


@pytest.mark.parametrize(
    ("body", "slug", "paths"),
    [
        ({}, "invalid-body", {"url"}),
        ({"url": 1}, "invalid-body", {"url"}),
        ({"url": "x" * 2001}, "invalid-body", {"url"}),
        ({"url": URL, "types": ["order.shipped"]}, "invalid-body", {"types.0"}),
        ({"url": URL, "types": "order.created"}, "invalid-body", {"types"}),
        ({"url": URL, "after": -1}, "invalid-body", {"after"}),
        ({"url": URL, "secret": "whsec_x"}, "invalid-body", {"secret"}),
        ({"url": "http://93.184.216.34/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://127.0.0.1/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://[::1]/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://localhost/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "invalid-endpoint", {"url"}),
        ({"url": "https://0x7f.1/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://2130706433/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://" + "x" * 64 + ".example/"}, "invalid-endpoint", {"url"}),
        ({"url": "https://shop..example/"}, "invalid-endpoint", {"url"}),
    ],
)
def test_what_is_no_endpoint_is_refused(client: Any, admin: Any, body: Any, slug: str, paths: set[str]) -> None:
    response = client.post(PATH, headers=admin, json=body)

    assert response.status_code == 400
    assert response.json["type"] == f"/problems/{slug}"
    assert set(response.json["errors"]) == paths
    assert client.get(PATH, headers=admin).json == []


def test_its_deliveries_are_in_the_metrics(client: Any, admin: Any) -> None:
    added = add(client, admin)
    scraped = client.get("/metrics").text

    for name in ("s_delivered_total", "s_waiting", "s_failing", "s_dead", "_endpoint_disabled", "_position"):
        assert f'ledger_webhook{name}{{endpoint="{added["id"]}"}} 0.0' in scraped
    assert added["secret"] not in scraped


@pytest.fixture
def told(client: Any, admin: Any, runtime: Runtime) -> str:
    """The id of an endpoint that has had all sorts of luck: each number is another one."""
    endpoint: str = add(client, admin)["id"]
    rows = [(endpoint, position, int(position < 4), "x" if position < 6 else "") for position in range(1, 9)]
    with runtime.database.write() as cursor:
        cursor.executemany("INSERT INTO webhook_deliveries VALUES (?, ?, 'order-1', 1, '', ?, ?)", rows)
        cursor.execute("UPDATE webhook_endpoints SET delivered = 7, position = 9, disabled = 'it answered 410 Gone'")
    return endpoint


def test_how_its_deliveries_stand(client: Any, admin: Any, told: str) -> None:
    [listed] = client.get(PATH, headers=admin).json
    counted = {"position": 9, "delivered": 7, "waiting": 5, "failing": 2, "dead": 3}
    assert {name: listed[name] for name in counted} == counted
    assert (listed["disabled"], listed["error"]) == ("it answered 410 Gone", "x")

    scraped = client.get("/metrics").text
    for name, value in (
        ("s_delivered_total", 7),
        ("_position", 9),
        ("s_waiting", 5),
        ("s_failing", 2),
        ("s_dead", 3),
        ("_endpoint_disabled", 1),
    ):
        assert f'ledger_webhook{name}{{endpoint="{told}"}} {value}.0' in scraped


def test_what_was_given_up_is_listed_page_by_page_and_replayed(client: Any, admin: Any, told: str) -> None:
    one = f"{PATH}/{told}"
    letters = client.get(f"{one}/dead", headers=admin).json
    assert letters == [{"position": position, "stream": "order-1", "error": "x"} for position in (1, 2, 3)]
    assert client.get(f"{one}/dead?after=2", headers=admin).json == letters[2:]
    assert client.post(f"{one}/replay", headers=admin).json == {"replayed": 3}
    assert client.get(f"{one}/dead", headers=admin).json == []
    assert client.post(f"{one}/enable", headers=admin).json["disabled"] is None
    [listed] = client.get(PATH, headers=admin).json
    assert (listed["disabled"], listed["waiting"], listed["dead"]) == (None, 8, 0)


def test_what_was_given_up_is_forgotten(client: Any, admin: Any, told: str) -> None:
    one = f"{PATH}/{told}"
    forgotten = client.delete(f"{one}/dead", headers=admin)
    assert (forgotten.status_code, forgotten.data) == (204, b"")
    assert client.get(f"{one}/dead", headers=admin).json == []
    [listed] = client.get(PATH, headers=admin).json
    assert (listed["waiting"], listed["failing"], listed["dead"]) == (5, 2, 0)


@pytest.mark.parametrize(("after", "position"), [({}, 2), ({"after": 0}, 0), ({"after": 1}, 1), ({"after": 9}, 2)])
def test_where_it_begins(client: Any, admin: Any, alice: Any, after: dict[str, int], position: int) -> None:
    for _ in range(2):
        assert client.post("/orders/new", json=["1"], headers=alice).status_code == 201

    assert add(client, admin, **after)["position"] == position


def test_what_admins_do_is_logged_without_secrets(client: Any, admin: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    added = add(client, admin)
    one = f"{PATH}/{added['id']}"
    rotated = client.post(f"{one}/rotate", headers=admin).json["secret"]
    for path in ("enable", "replay"):
        assert client.post(f"{one}/{path}", headers=admin).status_code == 200
    assert client.delete(f"{one}/dead", headers=admin).status_code == 204
    assert client.delete(one, headers=admin).status_code == 204

    said = [record.getMessage() for record in caplog.records if added["id"] in record.getMessage()]
    assert len(said) == 6
    assert all(line.endswith("by user 91") for line in said)
    assert not {secret for secret in (added["secret"], rotated) if secret in caplog.text}
