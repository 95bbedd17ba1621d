"""The console's routes: sign-in, and what is common to all of its pages."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from api.auth import TokenVerifier, Unauthenticated
from api.callers import note_audit
from api.console.log import LogPages
from api.console.orders import OrderPages
from api.console.overview import OverviewPages
from api.console.pages import Route, asset, go, page
from api.console.proof import ProofPages
from api.console.search import SearchPages
from api.console.session import PATH, SIGN_IN, ForgedForm, Sessions, SignedOut, Visitor, safe_target
from api.event_stream import Places
from api.problem_types import PROBLEM_TYPES
from api.problems import Refusal, problem, told_of
from api.request_ids import current_request_id
from api.services import Services
from ledger.actor import Role
from ledger.errors import LedgerError

_FORGED = 403


class ConsoleRoutes:
    """Pages for whoever has a token of the right role; nobody else sees more than the sign-in."""

    def __init__(
        self,
        services: Services,
        tokens: TokenVerifier,
        places: Places,
        *,
        secure: bool,
        random: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        self._sessions = Sessions(tokens, secure=secure, random=random)
        self._pages = (
            OverviewPages(services),
            SearchPages(services),
            OrderPages(services),
            LogPages(services, places),
            ProofPages(services, places),
        )

    def blueprint(self) -> Blueprint:
        """All routes of the console."""
        routes = Blueprint("console", __name__)
        add = routes.add_url_rule
        add(SIGN_IN, view_func=self.show_sign_in, methods=["GET"])
        add(SIGN_IN, view_func=self.sign_in, methods=["POST"])
        add(f"{PATH}/sign-out", view_func=self.sign_out, methods=["POST"])
        add(f"{PATH}/assets/<version>/<name>", view_func=self.get_asset, methods=["GET"])
        for pages in self._pages:
            for route in pages.routes():
                add(f"{PATH}{route.rule}", route.view.__name__, self._for_visitors(route), methods=[route.method])
        add(f"{PATH}/", view_func=self.go_home, methods=["GET"])
        add(f"{PATH}/<path:rest>", view_func=self.show_nothing, methods=["GET"])
        routes.register_error_handler(SignedOut, self._on_signed_out)
        routes.register_error_handler(ForgedForm, self._on_forged_form)
        for kind in (Refusal, LedgerError, HTTPException):
            routes.register_error_handler(kind, self._on_error)
        return routes

    def known_user(self) -> int | None:
        """The user who is signed in with this request, if any; to be counted, not to be served."""
        visitor = self._visitor()
        return None if visitor is None else visitor.actor.user

    def refuse(self, slug: str, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Answers what no route was reached with: by a page for people at the console, else by a problem document."""
        if not f"{request.path}/".startswith(f"{PATH}/"):
            return problem(slug, detail, headers=headers)
        return self._problem_page(slug, detail, headers or {})

    def show_sign_in(self) -> Response:
        """The sign-in page."""
        return self._sign_in_page(safe_target(request.args.get("next")), None)

    def sign_in(self) -> Response:
        """Signs in with the token that was pasted."""
        self._sessions.check_form(request, "visit")
        target = safe_target(request.form.get("next"))
        answer = go(target)
        try:
            self._sessions.sign_in(request.form.get("token", "").strip().removeprefix("Bearer "), answer)
        except Unauthenticated as error:
            return self._sign_in_page(target, error.detail, 401)
        return answer

    def sign_out(self) -> Response:
        """Forgets who was signed in."""
        self._sessions.check_form(request)
        answer = go(SIGN_IN)
        self._sessions.sign_out(answer)
        return answer

    def get_asset(self, version: str, name: str) -> Response:
        """A file that pages use."""
        return asset(version, name)

    def go_home(self) -> Response:
        """Where the overview is, for who has typed a slash too many."""
        return go(PATH)

    def show_nothing(self, rest: str) -> Response:
        """A page that is not there."""
        visitor = self._sessions.visitor(request)
        return _error_page(visitor, 404, "No such page", f"The console has no page {rest[:100]!r}.")

    def _for_visitors(self, route: Route) -> Callable[..., Response]:
        def show(**arguments: Any) -> Response:
            visitor = self._sessions.visitor(request)
            if route.method == "POST":
                self._sessions.check_form(request)
            if route.of_log and not visitor.audits:
                raise Refusal("forbidden", "Only auditors and admins read the log.")
            if route.of_log or visitor.actor.role is Role.AUDITOR:
                note_audit(visitor.actor)
            return route.view(visitor, **arguments)

        return show

    def _sign_in_page(self, target: str, refusal: str | None, status: int = 200) -> Response:
        cookies = Response()
        form_token = self._sessions.visit(request, cookies)
        answer = page("sign_in.html", status, form_token=form_token, target=target, refusal=refusal, visitor=None)
        answer.headers.extend((name, value) for name, value in cookies.headers if name == "Set-Cookie")
        return answer

    def _on_signed_out(self, _: SignedOut) -> Response:
        if request.method == "POST":
            return self._sign_in_page(PATH, "You are not signed in any more; nothing was done.", 401)
        asked = request.full_path.rstrip("?") if request.path != PATH else PATH
        return go(SIGN_IN if asked == PATH else f"{SIGN_IN}?next={quote(asked, safe='/')}")

    def _on_forged_form(self, _: ForgedForm) -> Response:
        said = "This form does not come from a page of yours, or from one of before you signed in. Nothing was done."
        return _error_page(self._visitor(), _FORGED, "Form refused", said)

    def _on_error(self, error: Refusal | LedgerError | HTTPException) -> Response:
        if isinstance(error, HTTPException):
            return _error_page(self._visitor(), error.code or 500, error.name, error.description or error.name)
        slug, said = told_of(error) if isinstance(error, LedgerError) else (error.slug, error.detail)
        return self._problem_page(slug, said)

    def _problem_page(self, slug: str, said: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
        kind = PROBLEM_TYPES[slug]
        answer = _error_page(self._visitor(), kind.status, kind.title, said)
        answer.headers.update({**kind.headers, **headers})
        return answer

    def _visitor(self) -> Visitor | None:
        try:
            return self._sessions.visitor(request)
        except (SignedOut, Refusal):  # which may be the error that the page is about
            return None


def _error_page(visitor: Visitor | None, status: int, title: str, said: str) -> Response:
    request_id = current_request_id()
    return page("error.html", status, visitor=visitor, title=title, said=said, request_id=request_id, here="")
