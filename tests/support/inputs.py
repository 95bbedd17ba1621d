"""What random users send to the API: mostly good, sometimes odd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.model import LARGEST, MOVES, PRODUCTS

picks = st.integers(0, 1000)
product_ids = st.sampled_from([*PRODUCTS, *PRODUCTS, *PRODUCTS, 0, 9, -1])
quantities = st.one_of(st.integers(1, 5), st.sampled_from([0, -1, 5000, 9999, 10_000, 10_001, LARGEST]))
references = st.sampled_from([*map(str, PRODUCTS), *(sku for sku, _, _ in PRODUCTS.values())])
odd_references = st.sampled_from(["", "0", "01", "9", " 1", "1.0", "tee-organic-m", "text", "\u0661", "x" * 300])


@st.composite
def items(draw: st.DrawFn) -> Any:
    """An item of a cart: mostly good."""
    kind = draw(st.sampled_from("rrrooooox"))
    if kind == "r":
        return draw(st.one_of(references, references, references, odd_references))
    if kind == "x":
        return draw(st.sampled_from([1, None, True, [], {}, {"id": 1}, {"id": "1", "quantity": 1}, {"id": 1, "n": 1}]))
    item: dict[str, Any] = {"id": draw(product_ids), "quantity": draw(quantities)}
    if draw(st.booleans()):
        item["name"] = draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5))
    if draw(st.booleans()):
        price = PRODUCTS.get(item["id"], ("", "", 1))[2]
        item["priceInCents"] = draw(st.sampled_from([price, price, price, price + 1]))
    return item


good_carts = st.lists(
    st.one_of(references, st.fixed_dictionaries({"id": st.sampled_from([*PRODUCTS]), "quantity": st.integers(1, 9)})),
    min_size=1,
    max_size=4,
)
odd_carts = st.sampled_from([[], {}, {"id": 1, "quantity": 1}, "1", None, 1, ["1"] * 200, ["1"] * 201])
carts = st.one_of(good_carts, good_carts, st.lists(items(), max_size=4), odd_carts)
keys = st.sampled_from([None, None, "a", '"a"', "b", '"b c"', "c" * 255])
odd_keys = st.sampled_from(["", "a b", '"', '""', "d" * 256, '"é"', "é"])
spellings = st.tuples(
    st.sampled_from([*MOVES]),
    st.sampled_from([str.lower, str.upper, str.title, str.capitalize, str.swapcase]),
    st.sampled_from(" _-"),
).map(lambda spelling: spelling[1](spelling[0].replace("_", spelling[2])))
odd_statuses = st.sampled_from(
    ["", "paid", "order  paid", " pending", "pending ", "orderpaid", "\u017fhipped", "x" * 999]
)
tags = st.sampled_from([None, None, None, "current", "current", "*", "stale", "weak", "several", "none", "bad"])
moves = st.fixed_dictionaries({"id": st.integers(1, 4), "statusOrder": st.integers(1, 4)})
odd_moves = st.fixed_dictionaries({"id": st.sampled_from([0, 1, 5]), "statusOrder": st.sampled_from([0, 1, 5, -1])})
odd_boards = st.sampled_from(
    [[], {}, {"id": 1}, [{"id": "1", "statusOrder": 1}], 1, None, {"id": 1, "statusOrder": 1.5}]
)
boards = st.one_of(
    moves, st.lists(moves, min_size=1, max_size=5), st.lists(odd_moves, max_size=2), odd_moves, odd_boards
)
odd_updates: st.SearchStrategy[Any] = st.sampled_from(
    [
        [],
        None,
        {},
        {"orderId": 1},
        {"orderId": "1", "status": "pending"},
        {"orderId": True, "status": "pending"},
        {"orderId": 0, "status": "pending"},
        {"orderId": 1, "status": 1},
        {"orderId": 1, "status": "pending", "x": 1},
    ]
)
refunds: st.SearchStrategy[Any] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"amountInCents": st.integers(1, 400)}),
    st.sampled_from([{"amountInCents": 0}, {"amountInCents": 100_000_000}, {"amountInCents": "1"}, {"x": 1}, [], None]),
)
