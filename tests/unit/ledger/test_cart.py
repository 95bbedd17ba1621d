"""Pricing carts: prices and names come from the catalogue, faults by path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cart import MAX_AMOUNT_IN_CENTS, CartItem, amount_of, price_cart
from ledger.catalogue import Catalogue, Product
from ledger.errors import InvalidCart, SettingsError

CATALOGUE = Catalogue.load(None)


def faults(*items: CartItem) -> dict[str, list[str]]:
    with pytest.raises(InvalidCart) as refusal:
        price_cart(CATALOGUE, items)
    return refusal.value.errors


def test_equal_products_merge_whatever_they_are_called() -> None:
    lines = price_cart(CATALOGUE, [CartItem("1"), CartItem("TEE-ORGANIC-M"), CartItem(2), CartItem(1, 3, 1999)])
    assert [(line["product_id"], line["quantity"]) for line in lines] == [(1, 5), (2, 1)]
    assert amount_of(lines) == 5 * 1999 + 1450


@given(st.lists(st.tuples(st.sampled_from(CATALOGUE.products), st.integers(1, 20)), min_size=1, max_size=200))
def test_the_amount_is_what_the_items_cost(chosen: list[tuple[Product, int]]) -> None:
    items = [CartItem(product.id, quantity) for product, quantity in chosen]
    amount = sum(product.price_in_cents * quantity for product, quantity in chosen)
    lines = price_cart(CATALOGUE, items)
    assert amount_of(lines) == amount
    assert len(lines) == len({product.id for product, _ in chosen})


def test_faults_are_named_by_path() -> None:
    assert list(faults(CartItem("nope"))) == ["0"]
    assert list(faults(CartItem("1"), CartItem(99))) == ["1.id"]
    assert list(faults(CartItem(1, 0), CartItem(1, 10_001))) == ["0.quantity", "1.quantity"]
    (message,) = faults(CartItem(4, 1, 1))["0.priceInCents"]
    assert "Product 4" in message


@pytest.mark.parametrize("items", [[], [CartItem("1")] * 201])
def test_too_few_and_too_many_items(items: list[CartItem]) -> None:
    assert list(faults(*items)) == [""]


def test_quantities_are_bounded_all_together_too() -> None:
    assert list(faults(CartItem(8, 10_000), CartItem(8, 1))) == [""]


def test_the_amount_is_bounded_to_the_cent() -> None:
    exact = Catalogue([Product(1, "A", "A", MAX_AMOUNT_IN_CENTS), Product(2, "B", "B", 1)])
    assert amount_of(price_cart(exact, [CartItem(1)])) == MAX_AMOUNT_IN_CENTS
    with pytest.raises(InvalidCart):
        price_cart(exact, [CartItem(1), CartItem(2)])


def test_the_demo_cart_makes_an_order() -> None:
    cart = CATALOGUE.demo_cart()
    assert len(cart) >= 6
    assert cart[0]["id"] == 1
    items = [CartItem(int(item["id"]), int(item["quantity"]), int(item["priceInCents"])) for item in cart]
    assert len(price_cart(CATALOGUE, items)) == len(cart)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "{}",
        "[]",
        "[1]",
        "[" * 200_000,
        '[{"id": 1, "sku": "a", "name": "A\\ud800", "priceInCents": 1}]',
        '[{"id": 1, "sku": "a", "name": "A\\u0000", "priceInCents": 1}]',
        '[{"id": 1}]',
        '[{"id": 0, "sku": "a", "name": "A", "priceInCents": 1}]',
        '[{"id": true, "sku": "a", "name": "A", "priceInCents": 1}]',
        '[{"id": 1, "sku": "a", "name": " ", "priceInCents": 1}]',
        '[{"id": 1, "sku": "a", "name": "A", "priceInCents": 1.5}]',
        '[{"id": 1, "sku": "1", "name": "A", "priceInCents": 1}]',
        json.dumps([{"id": n, "sku": "same", "name": "A", "priceInCents": 1} for n in (1, 2)]),
        json.dumps([{"id": 1, "sku": s, "name": "A", "priceInCents": 1} for s in "ab"]),
    ],
)
def test_a_catalogue_that_makes_no_sense_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match="LEDGER_CATALOGUE"):
        Catalogue.load(path)


def test_a_missing_catalogue_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LEDGER_CATALOGUE"):
        Catalogue.load(tmp_path / "none.json")


def test_all_faults_are_told_in_sentences() -> None:
    with pytest.raises(InvalidCart) as refused:
        price_cart(CATALOGUE, [CartItem("nope"), CartItem("never")])
    assert (
        str(refused.value)
        == "There is no product 'nope' in the catalogue. There is no product 'never' in the catalogue."
    )
