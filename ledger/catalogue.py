"""The products that can be ordered. Names and prices of orders always come from here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ledger.errors import SettingsError

MAX_ITEMS = 200
"""Items that an order takes; the demo cart has no more, so that it can be posted unchanged."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product: positive id, unique SKU, display name, unit price in integer cents, and its demo cart's quantity."""

    id: int
    sku: str
    name: str
    price_in_cents: int
    demo_quantity: int = 1


class Catalogue:
    """All products, found by id or SKU."""

    def __init__(self, products: Iterable[Product]) -> None:
        self.products = tuple(products)
        self._by_id = {product.id: product for product in self.products}
        self._by_reference = {str(product.id): product for product in self.products}
        self._by_reference.update({product.sku: product for product in self.products})
        if len(self._by_id) != len(self.products) or len(self._by_reference) != 2 * len(self.products):
            raise SettingsError("LEDGER_CATALOGUE: every product needs an id and a SKU of its own")

    @classmethod
    def load(cls, path: Path | None) -> Catalogue:
        """Reads a JSON array of ``{"id", "sku", "name", "priceInCents", "demoQuantity"?}``.

        ``None`` is the packaged demo catalogue. Raises SettingsError, naming what is wrong.
        """
        source = resources.files("ledger").joinpath("data/demo_catalogue.json") if path is None else path
        try:
            entries = json.loads(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"LEDGER_CATALOGUE: {path} can't be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"LEDGER_CATALOGUE: {path} is not JSON in UTF-8: {error}") from error
        if not isinstance(entries, list) or not entries:
            raise SettingsError("LEDGER_CATALOGUE: a JSON array of at least one product is expected")
        return cls(_product(index, entry) for index, entry in enumerate(entries))

    def find(self, reference: str | int) -> Product | None:
        """The product with this id (integer or decimal string) or SKU."""
        if isinstance(reference, int):
            return self._by_id.get(reference)
        return self._by_reference.get(reference)

    def demo_cart(self) -> list[dict[str, int | str]]:
        """The demo catalogue as ``GET /orders/demo-cart`` serves it."""
        return [
            {"id": item.id, "name": item.name, "quantity": item.demo_quantity, "priceInCents": item.price_in_cents}
            for item in self.products[:MAX_ITEMS]
        ]


def _product(index: int, entry: object) -> Product:
    if not isinstance(entry, dict):
        raise SettingsError(f"LEDGER_CATALOGUE: product {index} is not an object")
    ranges = {"id": (1, 2**53 - 1), "priceInCents": (1, 99_999_999), "demoQuantity": (1, 10_000)}
    for name, (low, high) in ranges.items():
        value = entry.get(name, 1 if name == "demoQuantity" else None)
        if type(value) is not int or not low <= value <= high:
            raise SettingsError(f"LEDGER_CATALOGUE: product {index}: {name} must be an integer from {low} to {high}")
    for name in ("sku", "name"):
        text = entry.get(name)
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise SettingsError(f"LEDGER_CATALOGUE: product {index}: {name} must be a string of printable characters")
    return Product(entry["id"], entry["sku"], entry["name"], entry["priceInCents"], entry.get("demoQuantity", 1))
