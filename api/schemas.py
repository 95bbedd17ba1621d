"""The shapes of bodies: what comes in is validated by these, what goes out is documented by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate

from api.problems import Refusal
from api.strict_json import MAX_INTEGER
from ledger.cart import MAX_AMOUNT_IN_CENTS, MAX_QUANTITY, CartItem
from ledger.catalogue import MAX_ITEMS
from ledger.leads import LEAD_STATUSES, LeadMove
from ledger.statuses import Status
from projections.webhooks.addresses import MAX_URL
from projections.webhooks.payloads import TYPES

IDS = {"minimum": 1, "maximum": MAX_INTEGER}
AMOUNTS = {"minimum": 1, "maximum": MAX_AMOUNT_IN_CENTS}
NO_NUL = r"^[^\u0000]*$"


def _any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" for letter in word)


STATUS_PATTERN = (
    "^(" + "|".join("[ _-]".join(_any_case(word) for word in status.split("_")) for status in Status) + ")$"
)
STATUS_INPUT = {
    "type": "string",
    "pattern": STATUS_PATTERN,
    "description": f"One of {', '.join(Status)}, in any case, with a space, `_` or `-` between words.",
    "examples": ["Order Paid"],
}


class Strict(Schema):
    """Refuses unknown fields, and says so in the documentation."""

    class Meta:
        unknown = RAISE


class CartItemSchema(Strict):
    """An item of a cart: a product of the catalogue by its integer id, as `GET /orders/demo-cart` serves it."""

    id = fields.Integer(required=True, strict=True, metadata={**IDS, "description": "The product's id."})
    quantity = fields.Integer(required=True, strict=True, metadata={"minimum": 1, "maximum": MAX_QUANTITY})
    name = fields.String(metadata={"pattern": NO_NUL, "description": "Ignored: names come from the catalogue."})
    priceInCents = fields.Integer(  # noqa: N815
        strict=True,
        metadata={
            "minimum": 1,
            "maximum": MAX_AMOUNT_IN_CENTS,
            "description": "When present, it must be the catalogue's price.",
        },
    )

    @post_load
    def _item(self, data: dict[str, Any], **_: object) -> CartItem:
        return CartItem(data["id"], data["quantity"], data.get("priceInCents"))


class StatusUpdateSchema(Strict):
    """A request to move an order to a status."""

    orderId = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_INTEGER))  # noqa: N815
    status = fields.String(required=True, metadata=STATUS_INPUT)


class RefundSchema(Strict):
    """A refund asked for: an amount, or without one all that is left."""

    amountInCents = fields.Integer(strict=True, metadata=AMOUNTS)  # noqa: N815


class PaymentIntentSchema(Strict):
    """A payment asked for."""

    amount = fields.Integer(required=True, strict=True, metadata={**AMOUNTS, "description": "Integer cents."})


class CosignedSchema(Strict):
    """A checkpoint of this log with the cosignatures of witnesses."""

    checkpoint = fields.String(
        required=True, metadata={"pattern": NO_NUL, "description": "The signed note (C2SP tlog-checkpoint)."}
    )


class EndpointInputSchema(Strict):
    """An endpoint of webhooks to be registered."""

    url = fields.String(
        required=True,
        validate=validate.Length(1, MAX_URL),
        metadata={"pattern": NO_NUL, "description": "Where to: an absolute https URL."},
    )
    types = fields.List(
        fields.String(validate=validate.OneOf(list(TYPES.values()))),
        validate=validate.Length(max=len(TYPES)),
        metadata={"description": "Which ones; none: all."},
    )
    after = fields.Integer(
        strict=True,
        metadata={"minimum": 0, "maximum": MAX_INTEGER, "description": "The position of the log to begin after."},
        validate=validate.Range(0, MAX_INTEGER),
    )


class LeadMoveSchema(Strict):
    """A lead status and its place on the board."""

    id = fields.Integer(required=True, strict=True, metadata={"minimum": 1, "maximum": len(LEAD_STATUSES)})
    statusOrder = fields.Integer(  # noqa: N815
        required=True, strict=True, metadata={"minimum": 1, "maximum": len(LEAD_STATUSES)}
    )

    @post_load
    def _move(self, data: dict[str, Any], **_: object) -> LeadMove:
        return LeadMove(data["id"], data["statusOrder"])


_CART_ITEM = CartItemSchema()
_STATUS_UPDATE = StatusUpdateSchema()
_REFUND = RefundSchema()
_PAYMENT_INTENT = PaymentIntentSchema()
_COSIGNED = CosignedSchema()
_ENDPOINT = EndpointInputSchema()
_LEAD_MOVE = LeadMoveSchema()


def load_cart(body: object) -> list[CartItem]:
    """The items of a new order's body. Whether they mean anything is for the ledger to say."""
    if not isinstance(body, list):
        raise Refusal("invalid-body", "A cart is an array.", errors={"": ["Not an array."]})
    if len(body) > MAX_ITEMS:
        # Said here already, so that nobody's time goes into the shape of a million items.
        message = f"An order takes 1 to {MAX_ITEMS} items, not {len(body)}."
        raise Refusal("invalid-cart", message, errors={"": [message]})
    items, errors = _load_each(
        body, lambda entry: CartItem(entry) if isinstance(entry, str) else _CART_ITEM.load(entry)
    )
    if errors:
        raise _misshapen(errors)
    return items


def load_status_update(body: object) -> tuple[int, str]:
    """The order's id and the status asked for, as text."""
    data = _load(_STATUS_UPDATE, body)
    return data["orderId"], data["status"]


def load_refund(body: object) -> int | None:
    """The amount to refund, in cents; ``None`` for all that is left."""
    amount: int | None = _load(_REFUND, body).get("amountInCents")
    return amount


def load_payment(body: object) -> int:
    """The amount to pay, in cents."""
    amount: int = _load(_PAYMENT_INTENT, body)["amount"]
    return amount


def load_cosigned(body: object) -> bytes:
    """The note of a cosigned checkpoint."""
    return str(_load(_COSIGNED, body)["checkpoint"]).encode()


def load_endpoint(body: object) -> tuple[str, list[str], int | None]:
    """URL, types and the position to begin after, of an endpoint to be registered."""
    data = _load(_ENDPOINT, body)
    return data["url"], data.get("types", []), data.get("after")


def load_lead_moves(body: object) -> list[LeadMove]:
    """The moves named by an array, or by a single object."""
    moves = body if isinstance(body, list) else [body]
    if len(moves) > len(LEAD_STATUSES):
        message = f"Name 1 to {len(LEAD_STATUSES)} lead statuses, each once."
        raise Refusal("invalid-arrangement", message, errors={"": [message]})
    loaded, errors = _load_each(moves, _LEAD_MOVE.load)
    if errors:
        raise _misshapen(errors if isinstance(body, list) else without_index(errors))
    return loaded


def without_index(errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The paths of the only item of an array, as paths of a body that is that item."""
    return {path.removeprefix("0").removeprefix("."): messages for path, messages in errors.items()}


def _load(schema: Schema, body: object) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", schema.load(cast("Mapping[str, Any]", body)))
    except ValidationError as error:
        raise _misshapen(dict(_flat(error.messages))) from error


def _load_each(entries: list[Any], load: Any) -> tuple[list[Any], dict[str, list[str]]]:
    loaded: list[Any] = []
    errors: dict[str, list[str]] = {}
    for index, entry in enumerate(entries):
        try:
            loaded.append(load(entry))
        except ValidationError as error:
            errors.update(_flat(error.messages, str(index)))
    return loaded, errors


def _flat(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, list):
        yield path, messages
        return
    for name, below in messages.items():
        parts = [part for part in (path, "" if name == "_schema" else str(name)[:100]) if part]
        yield from _flat(below, ".".join(parts))


def _misshapen(errors: Mapping[str, list[str]]) -> Refusal:
    return Refusal("invalid-body", "The body does not have the documented shape.", errors=errors)
