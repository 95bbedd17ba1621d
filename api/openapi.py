"""The OpenAPI document, kept beside the routes by flask-smorest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import metadata
from inspect import cleandoc
from typing import Any, TypeVar

from flask import Flask
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]

from api import idempotency, preconditions
from api.answers import ProblemSchema
from api.problems import MEDIA_TYPE
from api.request_ids import HEADER as REQUEST_ID
from api.schemas import IDS, NO_NUL, CartItemSchema, LeadMoveSchema
from ledger.catalogue import MAX_ITEMS
from ledger.leads import LEAD_STATUSES

View = TypeVar("View", bound=Callable[..., Any])
Doc = dict[str, Any]

BEARER: list[dict[str, list[str]]] = [{"bearerAuth": []}]
PUBLIC: list[dict[str, list[str]]] = []
DESCRIPTION = """\
Orders, their payments and lead boards, kept as an append-only log of events.

Errors are problem documents (RFC 9457): `type` is the address of a page that explains the error. Every answer carries
an `X-Request-Id`; send your own (1 to 128 letters, digits or `._:/+=-`) to have it echoed and recorded. Bodies are
strict JSON: `application/json` in UTF-8, at most 1 MiB, unknown fields and duplicate names are refused.
"""

_REF_REQUEST_ID = {"$ref": f"#/components/headers/{REQUEST_ID}"}
_PROBLEM_RESPONSES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request is malformed, or its meaning is refused; nothing was recorded."),
    401: ("Unauthenticated", "No acceptable bearer token."),
    403: ("Forbidden", "Not for this caller."),
    404: ("NotFound", "There is no such thing, or the caller may not see it."),
    412: ("VersionMismatch", "The order is not at a version that If-Match names."),
    413: ("RequestTooLarge", "The body is larger than 1 MiB."),
    415: ("UnsupportedMediaType", "The body is not `application/json` in UTF-8."),
    422: ("IdempotencyKeyReused", "The Idempotency-Key belongs to another request."),
    429: ("TooManyRequests", "More than this ledger allows a caller, or has room for: ask again later."),
    500: ("InternalError", "Something went wrong on our side."),
    503: ("Unavailable", "Something needed is unavailable: send the request again, with the same Idempotency-Key."),
}
_PROBLEM_HEADERS: Mapping[int, Doc] = {
    401: {"WWW-Authenticate": {"description": "RFC 6750.", "required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 0}}},
    503: {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 0}}},
}


def make_api(app: Flask) -> Any:
    """The flask-smorest extension of ``app``, with the components that operations refer to."""
    app.config.update(API_TITLE="Order ledger", API_VERSION=package_version(), OPENAPI_VERSION="3.1.0")
    api = Api(
        app,
        spec_kwargs={
            "info": {"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "servers": [{"url": "/"}],
        },
    )
    # Its catch-all error would document answers that are never given, and hide those that are not documented.
    api.DEFAULT_ERROR_RESPONSE_NAME = None
    components = api.spec.components
    components.security_scheme("bearerAuth", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    components.header(
        REQUEST_ID,
        {"description": "The id of this request in logs and events.", "required": True, "schema": {"type": "string"}},
    )
    for status, (name, description) in _PROBLEM_RESPONSES.items():
        headers = {REQUEST_ID: _REF_REQUEST_ID, **_PROBLEM_HEADERS.get(status, {})}
        content = {MEDIA_TYPE: {"schema": ProblemSchema}}
        components.response(name, {"description": description, "headers": headers, "content": content})
    _add_body_schemas(components)
    return api


def package_version(name: str = "order-ledger") -> str:
    """The version of the installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "0"  # a source tree that nobody has installed serves all the same


def _add_body_schemas(components: Any) -> None:
    components.schema("CartItem", schema=CartItemSchema)
    components.schema("LeadMove", schema=LeadMoveSchema)
    reference = "A product's id in decimal, or its SKU. Repeats add up."
    text = {"type": "string", "minLength": 1, "pattern": NO_NUL, "description": reference}
    cart = {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS}
    item = {"anyOf": [text, {"$ref": "#/components/schemas/CartItem"}]}
    components.schema("Cart", {**cart, "items": item})
    move = {"$ref": "#/components/schemas/LeadMove"}
    moves = {"type": "array", "minItems": 1, "maxItems": len(LEAD_STATUSES), "items": move}
    components.schema("LeadMoves", {"oneOf": [move, moves]})


def blueprint(name: str, description: str) -> Any:
    """A blueprint whose operations are documented under ``name``."""
    return Blueprint(name, __name__, description=description)


def operation(routes: Any, rule: str, method: str, view: View, **doc: Any) -> None:
    """Routes ``method rule`` to ``view`` and documents it, its docstring being summary and description.

    An ``appendix`` in ``doc`` is Markdown that goes below the description.
    """
    appendix = doc.pop("appendix", None)
    if appendix:
        _, blank, description = cleandoc(view.__doc__ or "").partition("\n\n")
        doc["description"] = description + blank + appendix
    documented = routes.doc(operationId=_camel_case(view.__name__), **doc)(view)
    # Only "/" ends in a slash. Asked for as "", it would be answered by a redirect, which is an HTML page.
    routes.add_url_rule(rule, view.__name__, documented, methods=[method], strict_slashes=rule != "/")


def answer(status: int, description: str, schema: Any, *, media_type: str = "application/json", **headers: Doc) -> Doc:
    """A documented success, by status."""
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    response = {"description": description, "headers": {REQUEST_ID: _REF_REQUEST_ID, **named}}
    return {str(status): response | ({"content": {media_type: {"schema": schema}}} if schema is not None else {})}


def problems(*statuses: int, limited: bool = True) -> Doc:
    """Documented errors, by status; any operation may also meet an internal error, and a caller's limit."""
    common = (429, 500) if limited else (500,)
    return {str(status): _PROBLEM_RESPONSES[status][0] for status in (*statuses, *common)}


def body(schema: Any, **examples: Any) -> Doc:
    """A required JSON body; ``schema`` is a marshmallow schema or the name of a component."""
    schema = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    named = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": named}}}


def parameter(place: str, name: str, description: str, **schema: Any) -> Doc:
    """A documented parameter in the query, path or header."""
    return {"in": place, "name": name, "description": description, "required": place == "path", "schema": schema}


ETAG = {
    "description": "The order's version, for If-None-Match and If-Match.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[1-9][0-9]*"$'},
}
IF_MATCH = parameter(
    "header",
    "If-Match",
    "The versions (ETag) that the order may be at, or `*`; at any other, nothing happens and the answer is 412.",
    type="string",
    pattern=preconditions.IF_MATCH_PATTERN,
)


IDEMPOTENCY_KEY = parameter(
    "header",
    idempotency.HEADER,
    "Makes repeats safe: the first request with this key that records something decides, repeats answer the same. "
    "Bare, or a quoted string; keys are per user.",
    type="string",
    pattern=idempotency.KEY_PATTERN,
)
REPLAYED = {
    "description": "Present when an earlier request with the same Idempotency-Key did it.",
    "schema": {"type": "string", "enum": ["true"]},
}
ORDER_ID = parameter("path", "orderId", "The order's id.", type="integer", **IDS)


def render(api: Any) -> bytes:
    """The document as JSON, without the shapes that flask-smorest brings for features not used here."""
    document = api.spec.to_dict()
    for unused in ("Error", "PaginationMetadata"):
        document["components"]["schemas"].pop(unused, None)
    return json.dumps(document, separators=(",", ":")).encode()


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
