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

    def user(self) -> int:
        """The user for whom the authenticated actor asks; raises Unauthenticated."""
        user = self.actor().user
        if user is None:  # the ledger's own actors have none, and no token stands for one of those
            raise Unauthenticated("it names no user")
        return user
