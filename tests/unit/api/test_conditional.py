"""ETag, If-None-Match and If-Match."""

from __future__ import annotations

from typing import Any

import pytest

from api.preconditions import IF_MATCH_PATTERN, NO_VERSION, expected_versions, is_not_modified
from api.problems import Refusal


@pytest.mark.parametrize("header", ['"2"', 'W/"2"', '"1", "2"', 'W/"1",W/"2"', "*", " * "])
def test_not_modified(header: str) -> None:
    assert is_not_modified(header, '"2"')


@pytest.mark.parametrize("header", ["", '"1"', "2", '"22"', '"', '"1", "3"', "**"])
def test_modified(header: str) -> None:
    assert not is_not_modified(header, '"2"')


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        ('"1"', [1]),
        ('"1", "2" ,"30"', [1, 2, 30]),
        ('W/"1"', [NO_VERSION]),
        ('W/"1", "2"', [2]),
        ('"abc"', [NO_VERSION]),
        ('""', [NO_VERSION]),
        ('"01"', [NO_VERSION]),
        ('"0"', [NO_VERSION]),
        ('"a,b", "3"', [3]),
    ],
)
def test_what_if_match_allows(header: str | None, versions: Any) -> None:
    assert expected_versions(header) == versions


@pytest.mark.parametrize(
    "header", ["", "1", '"1', '"1",', ',"1"', "'1'", '"1" "2"', "*, *", '*,"1"', 'w/"1"', '"a b"', '"\xe4"']
)
def test_malformed_if_match(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        expected_versions(header)
    assert refused.value.slug == "invalid-header"


def test_long_headers_are_judged_quickly() -> None:
    with pytest.raises(Refusal):
        expected_versions('"1"' + ", \t" * 4000 + "x")
    assert expected_versions(", ".join(['"7"'] * 1000)) == [7] * 1000
    assert IF_MATCH_PATTERN.startswith("^")


@pytest.fixture
def order(client: Any, alice: Any) -> str:
    return str(client.post("/orders/new", headers=alice, json=["1"]).headers["Location"])


def test_a_detail_is_fetched_once(client: Any, alice: Any, order: str) -> None:
    first = client.get(order, headers=alice)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get(order, headers={**alice, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Type" not in again.headers
    assert again.headers["X-Request-Id"]
    body = {"orderId": int(order.rpartition("/")[2]), "status": "cancelled"}
    assert client.post("/orders/status-update", headers=alice, json=body).status_code == 200
    changed = client.get(order, headers={**alice, "If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')


def test_not_modified_says_nothing_to_strangers(client: Any, tokens: Any, order: str) -> None:
    assert client.get(order, headers={**tokens.headers(2), "If-None-Match": "*"}).status_code == 404


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        ('"1", "2"', 200),
        ('"5", "1"', 200),
        ('"2"', 412),
        ('"2", "3"', 412),
        ('W/"1"', 412),
        ('"one"', 412),
        ("1", 400),
        ("", 400),
    ],
)
def test_if_match(*, client: Any, alice: Any, order: str, runtime: Any, if_match: str, status: int) -> None:
    body = {"orderId": int(order.rpartition("/")[2]), "status": "cancelled"}
    response = client.post("/orders/status-update", headers={**alice, "If-Match": if_match}, json=body)
    assert response.status_code == status, response.text
    assert runtime.services.health.head() == (2 if status == 200 else 1)


def test_each_move_answers_the_tag_that_the_next_one_may_expect(
    client: Any, alice: Any, staff: Any, order: str
) -> None:
    tag = client.get(order, headers=alice).headers["ETag"]
    for status, after in (("awaiting_payment", '"2"'), ("awaiting_payment", '"2"'), ("declined", '"3"')):
        body = {"orderId": int(order.rpartition("/")[2]), "status": status}
        response = client.post("/orders/status-update", headers={**staff, "If-Match": tag}, json=body)
        tag = response.headers["ETag"]
        assert (response.status_code, tag) == (200, after)
    assert client.get(order, headers=alice).headers["ETag"] == tag


@pytest.mark.parametrize("if_match", ['"1"', '"1", "2"', "*"])
def test_if_match_on_what_one_may_not_see(client: Any, tokens: Any, order: str, is_problem: Any, if_match: str) -> None:
    headers = {**tokens.headers(2), "If-Match": if_match}
    for order_id in (int(order.rpartition("/")[2]), 4711):
        response = client.post(
            "/orders/status-update", headers=headers, json={"orderId": order_id, "status": "cancelled"}
        )
        is_problem(response, "unknown-order", 400)
