"""Who is told of orders: the webhook endpoints that an admin registers."""

from __future__ import annotations

import logging
from typing import Any

from flask import Response, request

from api import endpoints_doc, openapi
from api.answers import empty_answer, json_answer
from api.callers import Callers
from api.queries import checked, integer
from api.schemas import load_endpoint
from api.services import Services
from api.strict_json import MAX_INTEGER, read_json
from projections.webhooks.endpoints import Endpoint

PATH = "/webhook-endpoints"
_ONE = f"{PATH}/<endpointId>"
_AFTER = {"after": integer(0, MAX_INTEGER)}
_log = logging.getLogger(__name__)


class EndpointRoutes:
    """The registry of webhook endpoints, for admins. What they do to it is logged."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._endpoints = services.endpoints
        self._callers = callers

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint("Webhook endpoints", "Who is told of orders. For admins.")
        for rule, method, view, doc in (
            (PATH, "GET", self.list_webhook_endpoints, endpoints_doc.LIST),
            (PATH, "POST", self.add_webhook_endpoint, endpoints_doc.ADD),
            (_ONE, "DELETE", self.remove_webhook_endpoint, endpoints_doc.REMOVE),
            (f"{_ONE}/rotate", "POST", self.rotate_webhook_secret, endpoints_doc.ROTATE),
            (f"{_ONE}/enable", "POST", self.enable_webhook_endpoint, endpoints_doc.ENABLE),
            (f"{_ONE}/dead", "GET", self.list_dead_webhooks, endpoints_doc.DEAD),
            (f"{_ONE}/dead", "DELETE", self.discard_dead_webhooks, endpoints_doc.DISCARD),
            (f"{_ONE}/replay", "POST", self.replay_dead_webhooks, endpoints_doc.REPLAY),
        ):
            openapi.operation(routes, rule, method, view, **doc)
        return routes

    def list_webhook_endpoints(self) -> Response:
        """The webhook endpoints, in the order of registration

        `position` is up to where the log is queued for the endpoint, `waiting` how many deliveries are to come, of
        which `failing` have failed and are tried again, `dead` how many were given up. `error` is what went wrong with
        the first that fails; `disabled` says why nothing is sent to it, if so.
        """
        self._callers.admin()
        return json_answer([_rendered(endpoint) for endpoint in self._endpoints.all()])

    def add_webhook_endpoint(self) -> Response:
        """Register a webhook endpoint

        Webhooks follow the Standard Webhooks specification. The answer has the secret that they are signed with, which
        is not shown again. Without `types` it is told of all, without `after` of what happens from now on; `after: 0`
        begins with the first event. URLs that lead to addresses that are not public are refused, as are those without
        TLS, unless LEDGER_WEBHOOK_PRIVATE allows them.
        """
        user = self._callers.admin().user
        url, types, after = load_endpoint(read_json(request))
        endpoint, secret = self._endpoints.register(url, types, after)
        _log.info("webhook endpoint %s is registered by user %s", endpoint.id, user)
        return json_answer(_rendered(endpoint) | {"secret": secret}, 201)

    def remove_webhook_endpoint(self, endpointId: str) -> Response:  # noqa: N803  # the name in the documented path
        """Forget a webhook endpoint, and what waits for it"""
        user = self._callers.admin().user
        self._endpoints.remove(endpointId)
        _log.info("webhook endpoint %s is removed by user %s", endpointId, user)
        return empty_answer({"Cache-Control": "no-store"})

    def rotate_webhook_secret(self, endpointId: str) -> Response:  # noqa: N803
        """A new secret for a webhook endpoint

        For 24 hours webhooks are signed with the former one, too. The new one is not shown again.
        """
        user = self._callers.admin().user
        secret = self._endpoints.rotate(endpointId)
        _log.info("webhook endpoint %s has a new secret, by user %s", endpointId, user)
        return json_answer({"secret": secret})

    def enable_webhook_endpoint(self, endpointId: str) -> Response:  # noqa: N803
        """Send to a disabled webhook endpoint again, beginning with what it has missed"""
        user = self._callers.admin().user
        self._endpoints.enable(endpointId)
        _log.info("webhook endpoint %s is enabled by user %s", endpointId, user)
        return json_answer(_rendered(self._endpoints.get(endpointId)))

    def list_dead_webhooks(self, endpointId: str) -> Response:  # noqa: N803
        """Webhooks that were given up, by position, a hundred at a time

        `after` is the position that the page before ended with; a page that is not full is the last.
        """
        self._callers.admin()
        after = int(checked(request.args, _AFTER).get("after", 0))
        letters = self._endpoints.dead(endpointId, after)
        return json_answer(
            [{"position": each.position, "stream": each.stream, "error": each.error} for each in letters]
        )

    def discard_dead_webhooks(self, endpointId: str) -> Response:  # noqa: N803
        """Forget all that were given up for a webhook endpoint"""
        user = self._callers.admin().user
        count = self._endpoints.discard(endpointId)
        _log.info("%s dead webhooks of endpoint %s are discarded by user %s", count, endpointId, user)
        return empty_answer({"Cache-Control": "no-store"})

    def replay_dead_webhooks(self, endpointId: str) -> Response:  # noqa: N803
        """Try all that were given up for a webhook endpoint again"""
        user = self._callers.admin().user
        count = self._endpoints.replay(endpointId)
        _log.info("%s dead webhooks of endpoint %s are replayed by user %s", count, endpointId, user)
        return json_answer({"replayed": count})


def _rendered(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "types": list(endpoint.types),
        "position": endpoint.position,
        "disabled": endpoint.disabled or None,
        "delivered": endpoint.delivered,
        "waiting": endpoint.waiting,
        "failing": endpoint.failing,
        "dead": endpoint.dead,
        "error": endpoint.error or None,
        "createdAt": endpoint.created_at,
    }
