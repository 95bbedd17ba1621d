"""The pages of the order list."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@pytest.fixture
def ids(client: Any, alice: Any, tokens: Any) -> list[int]:
    """Seven orders of one user, every other one cancelled, mixed with somebody else's; newest first."""
    ids = []
    for number in range(7):
        ids.append(client.post("/orders/new", headers=alice, json=["1"]).json["id"])
        client.post("/orders/new", headers=tokens.headers(2), json=["1"])
        if number % 2:
            client.post("/orders/status-update", headers=alice, json={"orderId": ids[-1], "status": "cancelled"})
    return ids[::-1]


def walk(client: Any, headers: Any, url: str) -> list[list[int]]:
    pages = []
    while url:
        response = client.get(url, headers=headers)
        assert response.status_code == 200
        pages.append([order["id"] for order in response.json])
        link = response.headers.get("Link", "")
        match = re.fullmatch(r'<(/orders\?[^>]+)>; rel="next"', link)
        assert bool(match) == bool(link)
        url = match[1] if match else ""
    return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 1000])
def test_pages_cover_the_list(client: Any, alice: Any, ids: list[int], limit: int) -> None:
    pages = walk(client, alice, f"/orders?limit={limit}")
    assert [order for page in pages for order in page] == ids
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


def test_links_keep_the_other_parameters(client: Any, alice: Any, ids: list[int]) -> None:
    response = client.get("/orders?limit=1&status=CANCELLED", headers=alice)
    query = parse_qs(urlsplit(re.findall("<(.*)>", response.headers["Link"])[0]).query)
    assert query == {"limit": ["1"], "status": ["CANCELLED"], "cursor": [str(ids[1])]}
    assert walk(client, alice, "/orders?limit=2&status=cancelled") == [[ids[1], ids[3]], [ids[5]]]
    assert walk(client, alice, "/orders?status=Pending&limit=3") == [[ids[0], ids[2], ids[4]], [ids[6]]]


def test_links_quote(client: Any, alice: Any, staff: Any) -> None:
    for _ in range(2):
        order_id = client.post("/orders/new", headers=alice, json=["1"]).json["id"]
        body = {"orderId": order_id, "status": "awaiting payment"}
        assert client.post("/orders/status-update", headers=staff, json=body).status_code == 200
    link = client.get("/orders?status=Awaiting%20Payment&limit=1", headers=alice).headers["Link"]
    assert "status=Awaiting+Payment&" in link


def test_the_cursor(client: Any, alice: Any, ids: list[int]) -> None:
    assert [order["id"] for order in client.get(f"/orders?cursor={ids[2]}", headers=alice).json] == ids[3:]
    assert client.get("/orders?cursor=1", headers=alice).json == []
    assert len(client.get(f"/orders?cursor={2**53 - 1}", headers=alice).json) == len(ids)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=0", {"limit"}),
        ("limit=1001", {"limit"}),
        ("limit=-1", {"limit"}),
        ("limit=", {"limit"}),
        ("limit=ten", {"limit"}),
        ("limit=1.0", {"limit"}),
        ("limit=01", {"limit"}),
        ("limit=%2B1", {"limit"}),
        ("limit=+1", {"limit"}),
        ("limit=1_0", {"limit"}),
        ("limit=%D9%A1", {"limit"}),
        (f"limit={'9' * 5000}", {"limit"}),
        ("limit=1&limit=1", {"limit"}),
        ("cursor=0", {"cursor"}),
        ("cursor=x", {"cursor"}),
        (f"cursor={2**53}", {"cursor"}),
        ("status=pending&status=shipped", {"status"}),
        ("page=2", {"page"}),
        ("Limit=2&cursor=x", {"Limit", "cursor"}),
        ("=1", {""}),
        ("%ff=1", {"%FF"}),
    ],
)
def test_bad_queries(*, client: Any, alice: Any, is_problem: Any, query: str, names: set[str]) -> None:
    document = is_problem(client.get(f"/orders?{query}", headers=alice), "invalid-query", 400)
    assert set(document["errors"]) == names


@pytest.mark.parametrize("status", ["", "paid", "pending%00", "%ff", "pending%20"])
def test_unknown_statuses(client: Any, alice: Any, is_problem: Any, status: str) -> None:
    is_problem(client.get(f"/orders?status={status}", headers=alice), "unknown-status", 400)
