"""Who is asking: the bearer token of the request being served."""

from __future__ import annotations

from flask import request

from api.auth import TokenVerifier, Unauthenticated, bearer_token
from ledger.actor import Actor


class Callers:
    """Authenticates requests."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    def actor(self) -> Actor:
        """The authenticated actor of this request; raises Unauthenticated."""
        return self._tokens.verify(bearer_token(request.environ.get("HTTP_AUTHORIZATION")))

    def user(self) -> tuple[int, Actor]:
        """The authenticated actor with its user id, which bearer tokens always name."""
        actor = self.actor()
        if actor.user is None:
            raise Unauthenticated("it names no user")
        return actor.user, actor
