"""The order endpoints."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from api import idempotency, openapi, orders_doc
from api.callers import Callers
from api.causes import cause_of
from api.paging import FIRST_PAGE, page_query
from api.preconditions import etag, expected_versions, is_not_modified
from api.problems import problem
from api.queries import as_recorded, checked, integer, moment
from api.schemas import load_cart, load_status_update
from api.services import Services
from api.strict_json import MAX_INTEGER, read_json
from ledger.actor import Actor
from ledger.outcomes import Outcome
from ledger.statuses import parse_status
from projections.history import as_of
from projections.orders import OrderDocument

JSON = "application/json"
PATH = "/orders"


class OrderRoutes:
    """Reads and commands on orders."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._ledger = services.ledger
        self._orders = services.orders
        self._history = services.history
        self._callers = callers
        self._demo_cart = json.dumps(services.catalogue.demo_cart(), ensure_ascii=False, separators=(",", ":")).encode()

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint("Orders", "Place orders, follow them, move them on.")
        openapi.operation(routes, PATH, "GET", self.list_orders, **orders_doc.LIST)
        openapi.operation(routes, f"{PATH}/demo-cart", "GET", self.get_demo_cart, **orders_doc.DEMO_CART)
        openapi.operation(routes, f"{PATH}/<order_id:orderId>", "GET", self.get_order, **orders_doc.DETAIL)
        openapi.operation(routes, f"{PATH}/new", "POST", self.create_order, **orders_doc.CREATE)
        openapi.operation(routes, f"{PATH}/status-update", "POST", self.update_status, **orders_doc.UPDATE_STATUS)
        return routes

    def list_orders(self) -> Response:
        """Your orders, newest first

        A plain array. When there are more than `limit`, the Link header leads to the next page.
        """
        user = self._callers.user()
        query = page_query(request.args) if request.query_string else FIRST_PAGE
        page = self._orders.page(user, status=query.status, before=query.cursor, limit=query.limit)
        headers = {"Cache-Control": "no-store"}
        if page.next_cursor is not None:
            headers["Link"] = query.next_link(PATH, page.next_cursor)
        return Response(page.body, 200, headers, content_type=JSON)

    def get_demo_cart(self) -> Response:
        """The demo catalogue, as a cart

        Post it unchanged to `/orders/new` to place an order.
        """
        return Response(self._demo_cart, 200, {"Cache-Control": "public, max-age=60"}, content_type=JSON)

    def get_order(self, orderId: int) -> Response:  # noqa: N803  # the name in the documented path
        """One order

        Another user's order is 404, as if it did not exist. Staff, auditors and admins see every order, with an empty
        `clientSecret`: that is for its owner alone. With `version` or `asOf` the order as it was then; with both, at
        the earlier of the two.
        """
        actor = self._callers.actor()
        if request.query_string:
            return self._past_order(orderId, actor)
        order = self._orders.detail(orderId, actor)
        return _detail(order) if order else _no_order(orderId)

    def create_order(self) -> Response:
        """Place an order

        The body is the cart: products by id or SKU, or objects with a quantity. Prices and names come from the
        catalogue; equal products become one line. With an Idempotency-Key, repeats answer what the first one did.
        """
        actor = self._callers.actor()
        body = read_json(request)
        outcome = self._ledger.create_order(load_cart(body), actor=actor, cause=cause_of("create_order", body))
        order = self._orders.placed(*outcome.placed) if outcome.placed else self._orders.as_created(outcome.order_id)
        headers = {"Location": f"{PATH}/{outcome.order_id}", **_outcome_headers(outcome)}
        return Response(order.body, 201, headers, content_type=JSON)

    def update_status(self) -> Response:
        """Move an order to a status

        Owners may cancel what is not paid, and ask for order_paid or completed, which the payment gateway has to
        confirm; staff and admins may make every move in the table. The present status again changes nothing. The
        answer's ETag is the order's version with that status, for the If-Match of the next move.
        """
        actor = self._callers.actor()
        body = read_json(request)
        order_id, status = load_status_update(body)
        expected = self._expected_version(order_id, actor)
        outcome = self._ledger.change_status(
            order_id,
            parse_status(status),
            actor=actor,
            cause=cause_of("change_status", body),
            expected_version=expected,
        )
        answer = f'{{"id":{outcome.order_id},"status":"{outcome.status.value}"}}'
        return Response(answer, 200, _outcome_headers(outcome), content_type=JSON)

    def _past_order(self, order_id: int, actor: Actor) -> Response:
        sent = checked(request.args, {"version": integer(1, MAX_INTEGER), "asOf": moment})
        history = self._history.of(order_id, actor)
        if history is None:
            return _no_order(order_id)
        version = int(sent.get("version", len(history)))
        entry = as_of(history[:version], as_recorded(sent["asOf"])) if "asOf" in sent else history[:version][-1]
        if version > len(history) or entry is None:
            return problem("no-such-version", f"Order {order_id} did not exist then, or has no such version yet.")
        order = self._orders.at(order_id, entry.version, entry.status, actor)
        return _detail(order) if order else _no_order(order_id)

    def _expected_version(self, order_id: int, actor: Actor) -> int | None:
        """The one version that the command may find. Of several allowed ones, the order's present version."""
        versions = expected_versions(request.environ.get("HTTP_IF_MATCH"))
        if versions is None or len(versions) == 1:
            return versions[0] if versions else None
        order = self._orders.detail(order_id, actor)
        return order.version if order is not None and order.version in versions else versions[0]


def _detail(order: OrderDocument) -> Response:
    headers = {"ETag": etag(order.version), "Cache-Control": "private, no-cache"}
    known = request.environ.get("HTTP_IF_NONE_MATCH")
    if known is not None and is_not_modified(known, headers["ETag"]):
        return Response(status=304, headers=headers)
    return Response(order.body, 200, headers, content_type=JSON)


def _no_order(order_id: int) -> Response:
    return problem("no-such-order", f"There is no order {order_id}.")


def _outcome_headers(outcome: Outcome) -> dict[str, str]:
    headers = {"ETag": etag(outcome.version), "Cache-Control": "no-store"}
    if outcome.replayed:
        headers[idempotency.REPLAYED] = "true"
    return headers
