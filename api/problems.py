"""Errors as RFC 9457 problem documents, for every error there is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Protocol

from flask import Flask, Response
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from api.problem_types import PROBLEM_TYPES
from api.request_ids import current_request_id
from ledger.errors import InvalidInput, LedgerError

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
"""Paths reported at most, so that a large bad request doesn't earn a larger answer."""

_log = logging.getLogger(__name__)
_SLUG_OF_STATUS = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "request-too-large",
    415: "unsupported-media-type",
    500: "internal-error",
}

Errors = Mapping[str, Iterable[str]]


class Refusal(Exception):
    """A request that the API itself refuses, with a problem type of the table and a sentence for a person."""

    def __init__(
        self, slug: str, detail: str, *, errors: Errors | None = None, headers: Mapping[str, str] | None = None
    ):
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}


def problem(
    slug: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] = MappingProxyType({}),
) -> Response:
    """The answer for a problem type of the table; ``members`` are extension members such as ``errors``."""
    kind = PROBLEM_TYPES[slug]
    document = {"type": f"/problems/{slug}", "title": kind.title, "status": kind.status, "detail": detail}
    answer = _render({**document, **members}, kind.status)
    answer.headers.update({**kind.headers, **(headers or {})})
    return answer


class Answer(Protocol):
    """Makes the answer for a problem type of the table, as ``problem`` does."""

    def __call__(self, slug: str, detail: str, *, headers: Mapping[str, str] | None = None) -> Response: ...


def handle_errors(app: Flask, answer: Answer = problem) -> None:
    """Makes ``app`` answer every error as a problem document; ``answer`` makes those for which no route was found."""
    app.register_error_handler(Refusal, _on_refusal)
    app.register_error_handler(LedgerError, _on_ledger_error)
    app.register_error_handler(HTTPException, lambda error: _on_http_exception(error, answer))


def told_of(error: LedgerError) -> tuple[str, str]:
    """The slug of an error's problem type, and what the caller is told.

    Of what is not the caller's doing that is no more than the type explains: what a driver or gateway said may name
    hosts and accounts, and is for the log.
    """
    slug = getattr(error, "code", "internal-error")  # proofs that make no sense are nobody's request
    kind = PROBLEM_TYPES[slug]
    if kind.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return slug, str(error)
    shown = error if error.__cause__ else None  # where nothing lies behind it, the sentence says all
    _log.warning("%s (request %s)", error, current_request_id(), exc_info=shown)
    return slug, kind.explanation


def _on_refusal(error: Refusal) -> Response:
    return problem(error.slug, error.detail, headers=error.headers, members=_errors(error.errors))


def _on_ledger_error(error: LedgerError) -> Response:
    errors = error.errors if isinstance(error, InvalidInput) else None
    return problem(*told_of(error), members=_errors(errors))


def _on_http_exception(error: HTTPException, answer: Answer) -> Response:
    status = error.code or 500
    slug = _SLUG_OF_STATUS.get(status)
    if slug is None:
        title = HTTPStatus(status).phrase
        return _render({"type": "about:blank", "title": title, "status": status, "detail": f"{title}."}, status)
    headers = {"Allow": allow(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
    said = error.description if type(error) is BadRequest else None
    return answer(slug, said or PROBLEM_TYPES[slug].explanation, headers=headers)


def allow(methods: Iterable[str]) -> str:
    """The value of an Allow header."""
    return ", ".join(sorted(methods))


def _errors(errors: Errors | None) -> dict[str, dict[str, list[str]]]:
    if not errors:
        return {}
    kept = {path: list(messages) for (path, messages), _ in zip(errors.items(), range(MAX_ERRORS), strict=False)}
    return {"errors": kept}


def _render(document: Mapping[str, object], status: int) -> Response:
    body = json.dumps({**document, "requestId": current_request_id()}, separators=(",", ":"))
    return Response(body, status, {"Cache-Control": "no-store"}, content_type=MEDIA_TYPE)
