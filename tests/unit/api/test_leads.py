"""The lead-status endpoints."""

from __future__ import annotations

from typing import Any

import pytest

PATH = "/leads/statuses/order"


def put(client: Any, headers: Any, body: Any) -> list[tuple[int, int]]:
    response = client.put(PATH, headers=headers, json=body)
    assert response.status_code == 200, response.text
    assert all(list(row) == ["id", "statusOrder"] for row in response.json)
    return [(row["id"], row["statusOrder"]) for row in response.json]


def board(client: Any, headers: Any) -> list[int]:
    rows = client.get("/leads/statuses", headers=headers).json
    assert [row["statusOrder"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["id"] for row in rows]


def test_the_default_board(client: Any, alice: Any) -> None:
    assert client.get("/leads/statuses", headers=alice).json == [
        {"id": 1, "name": "New", "statusOrder": 1},
        {"id": 2, "name": "Contacted", "statusOrder": 2},
        {"id": 3, "name": "Qualified", "statusOrder": 3},
        {"id": 4, "name": "Lost", "statusOrder": 4},
    ]


def test_one_move_and_several(client: Any, alice: Any, tokens: Any) -> None:
    assert put(client, alice, {"id": 1, "statusOrder": 1}) == [(1, 1)]
    assert put(client, alice, [{"id": 1, "statusOrder": 1}]) == [(1, 1)]
    assert put(client, alice, {"id": 4, "statusOrder": 2}) == [(4, 2), (2, 3), (3, 4)]
    assert board(client, alice) == [1, 4, 2, 3]
    several = [{"id": 3, "statusOrder": 1}, {"id": 2, "statusOrder": 3}]
    assert put(client, alice, several) == [(3, 1), (1, 2), (2, 3), (4, 4)]
    assert board(client, alice) == [3, 1, 2, 4]
    assert board(client, tokens.headers(2)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("body", "slug", "paths"),
    [
        ([], "invalid-arrangement", {""}),
        ({"id": 5, "statusOrder": 1}, "invalid-arrangement", {"id"}),
        ([{"id": 5, "statusOrder": 1}], "invalid-arrangement", {"0.id"}),
        ({"id": 1, "statusOrder": 0}, "invalid-arrangement", {"statusOrder"}),
        ({"id": 1, "statusOrder": 5}, "invalid-arrangement", {"statusOrder"}),
        ({"id": 0, "statusOrder": 5}, "invalid-arrangement", {"id", "statusOrder"}),
        ([{"id": 1, "statusOrder": 1}, {"id": 1, "statusOrder": 2}], "invalid-arrangement", {"1.id"}),
        ([{"id": 1, "statusOrder": 1}] * 5, "invalid-arrangement", {""}),
        ([{"id": 1, "statusOrder": 1}] * 20_000, "invalid-arrangement", {""}),
        ({}, "invalid-body", {"id", "statusOrder"}),
        ([{}], "invalid-body", {"0.id", "0.statusOrder"}),
        (False, "invalid-body", {""}),
        ("x", "invalid-body", {""}),
        ([1], "invalid-body", {"0"}),
        ([[]], "invalid-body", {"0"}),
        ({"id": "1", "statusOrder": 1}, "invalid-body", {"id"}),
        ({"id": 1, "statusOrder": 1.0}, "invalid-body", {"statusOrder"}),
        ({"id": True, "statusOrder": 1}, "invalid-body", {"id"}),
        ({"id": 1, "statusOrder": None}, "invalid-body", {"statusOrder"}),
        ({"id": 1, "statusOrder": 1, "name": "x"}, "invalid-body", {"name"}),
        ([{"id": 1, "statusOrder": 2}, {"id": "x"}], "invalid-body", {"1.id", "1.statusOrder"}),
    ],
)
def test_bad_arrangements(*, client: Any, alice: Any, is_problem: Any, body: Any, slug: str, paths: Any) -> None:
    document = is_problem(client.put(PATH, headers=alice, json=body), slug, 400)
    assert set(document["errors"]) == paths
    assert board(client, alice) == [1, 2, 3, 4]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"id": 1, "id": 1, "statusOrder": 1}'])
def test_no_json(client: Any, alice: Any, is_problem: Any, data: bytes) -> None:
    is_problem(client.put(PATH, headers=alice, data=data, content_type="application/json"), "malformed-json", 400)


def test_null_is_no_move(client: Any, alice: Any, is_problem: Any) -> None:
    is_problem(client.put(PATH, headers=alice, data=b"null", content_type="application/json"), "invalid-body", 400)
