"""Who is asking: the bearer token of the request being served."""

from __future__ import annotations

import json
import logging

from flask import request

from api.auth import TokenVerifier, Unauthenticated, bearer_token
from api.problems import Refusal
from api.request_ids import current_request_id
from ledger.actor import Actor, Role

AUDITORS = frozenset({Role.AUDITOR, Role.ADMIN})
"""Roles that may read the log itself."""

ACTOR_KEY = "ledger.actor"
"""Where a request's environment has its actor, once there is one: for the log."""

AUDIT_LOG = "ledger.audit"
_audit = logging.getLogger(AUDIT_LOG)
_audit.setLevel(logging.INFO)  # whatever else is logged: who reads the log has to be seen


class Callers:
    """Authenticates requests. Whatever an auditor asks for is logged, as is who asks for the log."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    def actor(self) -> Actor:
        """The authenticated actor of this request; raises Unauthenticated."""
        actor = self._verified()
        if actor.role is Role.AUDITOR:
            note_audit(actor)
        return actor

    def auditor(self) -> Actor:
        """The actor, who may read the log; raises Unauthenticated, and Refusal for anybody else."""
        actor = self._verified()
        if actor.role not in AUDITORS:
            raise Refusal("forbidden", "Only auditors and admins read the log.")
        note_audit(actor)
        return actor

    def admin(self) -> Actor:
        """The actor, who is an admin; raises Unauthenticated, and Refusal for anybody else."""
        actor = self.actor()
        if actor.role is not Role.ADMIN:
            raise Refusal("forbidden", "Only admins do this.")
        return actor

    def user(self) -> int:
        """The user for whom the authenticated actor asks; raises Unauthenticated."""
        user = self.actor().user
        if user is None:  # the ledger's own actors have none, and no token stands for one of those
            raise Unauthenticated("it names no user")
        return user

    def known_user(self) -> int | None:
        """The user for whom this request is made, if it says so with a good token; to be counted, not to be served."""
        try:
            return self._verified().user
        except Refusal:
            return None

    def _verified(self) -> Actor:
        environ = request.environ
        actor = environ[ACTOR_KEY] = self._tokens.verify(bearer_token(environ.get("HTTP_AUTHORIZATION")))
        return actor


def note_audit(actor: Actor) -> None:
    """One line of JSON for the log's readers and their programs."""
    query = request.query_string.decode("ascii", "backslashreplace")
    asked = {"method": request.method, "path": request.path, "query": query, "requestId": current_request_id()}
    _audit.info("%s", json.dumps({"event": "audit_read", **actor.record(), **asked}))
