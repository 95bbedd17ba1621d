"""How pages of the console are made: templates, and what browsers may do with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from flask import Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from api.console.session import PATH
from api.problems import problem

MEDIA_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_CENTS = 100


@dataclass(frozen=True, slots=True)
class Route:
    """A page: its rule below the console's path, and what makes it for a visitor. ``of_log``: for auditors only."""

    rule: str
    view: Callable[..., Response]
    method: str = "GET"
    of_log: bool = False


@cache
def _assets() -> dict[str, bytes]:
    """The files of the console by name."""
    folder = resources.files("api.console").joinpath("static")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in MEDIA_TYPES}


@cache
def asset_version() -> str:
    """Changes with any of the files, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for name, content in sorted(_assets().items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()[:12]


def asset(version: str, name: str) -> Response:
    """A file of the console, of this version alone: browsers that ask a server of another release would keep it."""
    content = _assets().get(name) if version == asset_version() else None
    if content is None:
        return problem("not-found", "There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, 200, headers, content_type=MEDIA_TYPES[name.rpartition(".")[2]])


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page, to be kept by nobody."""
    html = _environment().get_template(template).render(**values)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY}
    # What somebody has written over an event may hold halves of characters.
    return Response(html.encode("utf-8", "backslashreplace"), status, headers, content_type="text/html; charset=utf-8")


def go(target: str) -> Response:
    """Sends the browser to another page, which it is to GET (RFC 9110, section 15.4.4)."""
    return Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})


def money(cents: int, currency: str = "") -> str:
    """An amount as people write it: ``1,234.50 usd``."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // _CENTS:,}.{abs(cents) % _CENTS:02} {currency}".rstrip()


def words(status: str) -> str:
    """A status as people write it: ``order paid``."""
    return status.replace("_", " ")


def moment(timestamp: str) -> str:
    """A time of the log in UTC, to the second: ``2026-01-31 12:00:00``."""
    try:
        return f"{datetime.fromisoformat(timestamp):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return timestamp


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("api.console"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(money=money, words=words, moment=moment)
    environment.globals.update(console=PATH, assets=f"{PATH}/assets/{asset_version()}")
    return environment
