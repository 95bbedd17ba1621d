"""The lead-status endpoints."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from api import openapi
from api.answers import LeadPlaceSchema, LeadStatusSchema, json_answer
from api.callers import Callers
from api.causes import unkeyed_cause
from api.openapi import BEARER, answer, body, problems
from api.problems import Refusal
from api.schemas import load_lead_moves, without_index
from api.services import Services
from api.strict_json import read_json
from ledger.errors import InvalidArrangement

_LIST_DOC = {
    "security": BEARER,
    "responses": answer(200, "The board.", LeadStatusSchema(many=True)) | problems(401, 503),
}
_ARRANGE_DOC = {
    "security": BEARER,
    "requestBody": body("LeadMoves", one={"id": 1, "statusOrder": 1}, several=[{"id": 1, "statusOrder": 2}]),
    "responses": answer(200, "The named and the changed lead statuses, by place.", LeadPlaceSchema(many=True))
    | problems(400, 401, 413, 415, 503),
}


class LeadRoutes:
    """Reads and commands on the caller's board of lead statuses."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._ledger = services.ledger
        self._leads = services.leads
        self._callers = callers

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint("Leads", "The board of lead statuses.")
        openapi.operation(routes, "/leads/statuses", "GET", self.list_lead_statuses, **_LIST_DOC)
        openapi.operation(routes, "/leads/statuses/order", "PUT", self.arrange_lead_statuses, **_ARRANGE_DOC)
        return routes

    def list_lead_statuses(self) -> Response:
        """Your board of lead statuses, in order"""
        board = self._leads.board(self._callers.user())
        return json_answer([{"id": status.id, "name": status.name, "statusOrder": status.place} for status in board])

    def arrange_lead_statuses(self) -> Response:
        """Move lead statuses to places on your board

        Takes one move or an array. The other statuses close up; the answer lists the named statuses and all whose
        place changed. Everything is done or, when anything is refused, nothing.
        """
        actor = self._callers.actor()
        parsed = read_json(request)
        moves = load_lead_moves(parsed)
        try:
            placed = self._ledger.arrange_leads(moves, actor=actor, cause=unkeyed_cause())
        except InvalidArrangement as error:
            if isinstance(parsed, list):
                raise
            raise Refusal(error.code, str(error), errors=without_index(error.errors)) from error
        return json_answer([{"id": move.id, "statusOrder": move.place} for move in placed])
