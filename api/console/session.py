"""Who is at the console: a bearer token in a cookie, verified with every request, and forms that only our pages send.

There is no session on the server. The cookie is for this console alone (HttpOnly, SameSite=Strict), and a form's token
is an HMAC keyed by the cookie: who can't read the cookie can't make one. Before sign-in a cookie of random bytes stands
in for it, which sign-in replaces.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal
from urllib.parse import urlsplit

from flask import Request, Response

from api.auth import TokenVerifier, Unauthenticated
from api.callers import ACTOR_KEY, AUDITORS
from ledger.actor import MOVERS, Actor, Role

PATH = "/console"
SIGN_IN = f"{PATH}/sign-in"
ROLES = frozenset({Role.AUDITOR, Role.STAFF, Role.ADMIN})
MAX_TOKEN = 3800
"""Bytes: browsers keep cookies of 4,096, the name and attributes included."""

_is_visit = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_OURS = frozenset({"same-origin", "none"})
_SESSION: Literal["session"] = "session"
_VISIT: Literal["visit"] = "visit"


class SignedOut(Exception):
    """Nobody is signed in, or not any more."""


class ForgedForm(Exception):
    """A form that none of our pages has sent, or one from before somebody else signed in."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at the console; ``form_token`` goes into every form of the page."""

    actor: Actor
    form_token: str

    @property
    def moves(self) -> bool:
        """Whether it is somebody who may move orders."""
        return self.actor.role in MOVERS

    @property
    def audits(self) -> bool:
        """Whether it is somebody who may read the log itself."""
        return self.actor.role in AUDITORS


class Sessions:
    """Reads and writes the cookies. ``secure``: they are sent over https alone, and by no sub-domain's doing."""

    def __init__(self, tokens: TokenVerifier, *, secure: bool, random: Callable[[int], str]) -> None:
        self._tokens = tokens
        self._secure = secure
        self._random = random
        # https://www.rfc-editor.org/rfc/rfc6265#section-4.1.2 and the __Host- prefix of its successor
        self._prefix = "__Host-console-" if secure else "console-"

    def visitor(self, request: Request) -> Visitor:
        """Who is signed in. Raises SignedOut, and Refusal when that can't be found out."""
        token = request.cookies.get(self._prefix + _SESSION, "")
        try:
            actor = self._tokens.verify(token) if token else None
        except Unauthenticated:
            actor = None
        if actor is None or actor.role not in ROLES:
            raise SignedOut
        request.environ[ACTOR_KEY] = actor
        return Visitor(actor, _form_token(token))

    def sign_in(self, token: str, response: Response) -> None:
        """Signs in with a token. Raises Unauthenticated for one that is none, or not for the console."""
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("it is too long for a cookie")
        if self._tokens.verify(token).role not in ROLES:
            raise Unauthenticated("the console is for auditors, staff and admins")
        self._set(response, _SESSION, token)
        self._forget(response, _VISIT)

    def sign_out(self, response: Response) -> None:
        """Forgets who was signed in."""
        self._forget(response, _SESSION)
        self._forget(response, _VISIT)

    def visit(self, request: Request, response: Response) -> str:
        """The form token of somebody who is not signed in; sets the cookie that it belongs to."""
        sent = request.cookies.get(self._prefix + _VISIT, "")
        visit = sent if _is_visit(sent) else self._random(32)
        self._set(response, _VISIT, visit)
        return _form_token(visit)

    def check_form(self, request: Request, cookie: Literal["session", "visit"] = _SESSION) -> None:
        """Raises ForgedForm unless one of our own pages has sent the form, for whoever has this cookie."""
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is not None and site not in _OURS:
            raise ForgedForm
        # Where referrers are not sent, as here, browsers say "null" for a form's own origin, too.
        if origin not in {None, "null"} and _host_of(origin) != request.host:
            raise ForgedForm
        key, sent = request.cookies.get(self._prefix + cookie, ""), request.form.get("form_token", "")
        if not key or not hmac.compare_digest(_form_token(key).encode(), sent.encode()):
            raise ForgedForm

    def _set(self, response: Response, name: str, value: str) -> None:
        # The __Host- prefix wants the path to be "/".
        response.set_cookie(self._prefix + name, value, path="/", secure=self._secure, httponly=True, samesite="Strict")

    def _forget(self, response: Response, name: str) -> None:
        response.delete_cookie(self._prefix + name, path="/", secure=self._secure, httponly=True, samesite="Strict")


def safe_target(target: str | None) -> str:
    """Where to go after signing in: a page of the console, whatever the link to the sign-in page said."""
    sane = target is not None and target.isascii() and target.isprintable() and "\\" not in target
    if target is None or not sane or not (target == PATH or target.startswith((f"{PATH}/", f"{PATH}?"))):
        return PATH
    return PATH if target.startswith(SIGN_IN) or "//" in target or "/.." in target else target


def _host_of(origin: str | None) -> str | None:
    try:
        return urlsplit(origin or "").netloc
    except ValueError:  # it is none, such as "http://["
        return None


def _form_token(cookie: str) -> str:
    return hmac.new(cookie.encode(), b"console form", sha256).hexdigest()
