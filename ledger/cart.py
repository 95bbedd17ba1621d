"""From what a client puts in the cart to the lines of an order, priced from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ledger.catalogue import MAX_ITEMS, Catalogue, Product
from ledger.errors import InvalidCart

MAX_QUANTITY = 10_000
MAX_AMOUNT_IN_CENTS = 99_999_999
"""Stripe's largest amount with two decimals: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts"""


@dataclass(frozen=True, slots=True)
class CartItem:
    """One item as the client sent it. ``product`` is a catalogue id or SKU; the client's name is never used."""

    product: str | int
    quantity: int = 1
    price_in_cents: int | None = None


class LineRecord(TypedDict):
    """One line of an order as events store it."""

    product_id: int
    name: str
    quantity: int
    price_in_cents: int


def price_cart(catalogue: Catalogue, items: Sequence[CartItem]) -> list[LineRecord]:
    """The order's lines in the order of first mention, equal products merged, priced from the catalogue.

    Raises InvalidCart with every fault found, by the path of the item in the request.
    """
    if not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidCart({"": [f"An order takes 1 to {MAX_ITEMS} items, not {len(items)}."]})
    errors: dict[str, list[str]] = {}
    quantities: dict[int, int] = {}
    products: dict[int, Product] = {}
    for index, item in enumerate(items):
        product = catalogue.find(item.product)
        if product is None:
            path = f"{index}" if isinstance(item.product, str) else f"{index}.id"
            errors[path] = [f"There is no product {str(item.product)[:40]!r} in the catalogue."]
            continue
        errors.update(_item_errors(index, item, product))
        products[product.id] = product
        quantities[product.id] = quantities.get(product.id, 0) + item.quantity
    errors = errors or _total_errors(quantities, products)
    if errors:
        raise InvalidCart(errors)
    return [
        {
            "product_id": product.id,
            "name": product.name,
            "quantity": quantities[product.id],
            "price_in_cents": product.price_in_cents,
        }
        for product in products.values()
    ]


def amount_of(lines: Sequence[LineRecord]) -> int:
    """The sum of quantity times price, in cents."""
    return sum(line["quantity"] * line["price_in_cents"] for line in lines)


def _item_errors(index: int, item: CartItem, product: Product) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    if not 1 <= item.quantity <= MAX_QUANTITY:
        errors[f"{index}.quantity"] = [f"The quantity of {product.name!r} must be from 1 to {MAX_QUANTITY}."]
    if item.price_in_cents is not None and item.price_in_cents != product.price_in_cents:
        errors[f"{index}.priceInCents"] = [
            f"Product {product.id} ({product.name!r}) costs {product.price_in_cents} cents, not {item.price_in_cents}."
        ]
    return errors


def _total_errors(quantities: Mapping[int, int], products: Mapping[int, Product]) -> dict[str, list[str]]:
    excessive = [products[id].name for id, quantity in quantities.items() if quantity > MAX_QUANTITY]
    if excessive:
        return {"": [f"All together more than {MAX_QUANTITY} of {name!r}." for name in excessive]}
    amount = sum(quantity * products[id].price_in_cents for id, quantity in quantities.items())
    if amount > MAX_AMOUNT_IN_CENTS:
        return {"": [f"The amount of {amount} cents exceeds {MAX_AMOUNT_IN_CENTS}."]}
    return {}
