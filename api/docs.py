"""The OpenAPI document and its page: Swagger UI, served from the installed package so that it works offline."""

from __future__ import annotations

from importlib import resources
from typing import Any

from flask import Response

from api import openapi
from api.openapi import PUBLIC, answer, problems
from api.problems import problem

ASSETS = {
    "index.css": "text/css; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
START = "start.js"

# Swagger UI sets style attributes and draws its icons from data: URLs; scripts come from here alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Order ledger API</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="stylesheet" href="/docs/assets/index.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript><p>This page needs JavaScript; the document is at <a href="/openapi.json">/openapi.json</a>.</p></noscript>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});
"""
_HTML = "text/html; charset=utf-8"


class DocsRoutes:
    """Serves what :meth:`publish` was given, once all routes are known."""

    def __init__(self) -> None:
        self._document = b""

    def blueprint(self) -> Any:
        """The routes with their documentation; the page's assets are not part of the API."""
        routes = openapi.blueprint("Documentation", "This document.")
        document = answer(200, "The OpenAPI document.", {"type": "object"})
        page = answer(200, "The page.", {"type": "string"}, media_type="text/html")
        openapi.operation(
            routes, "/openapi.json", "GET", self.get_document, security=PUBLIC, responses=document | problems()
        )
        openapi.operation(routes, "/docs", "GET", self.get_page, security=PUBLIC, responses=page | problems())
        return routes

    def publish(self, document: bytes) -> None:
        """Sets the OpenAPI document."""
        self._document = document

    def get_document(self) -> Response:
        """This document"""
        return Response(self._document, 200, {"Cache-Control": "no-cache"}, content_type="application/json")

    def get_page(self) -> Response:
        """This document, to read and to try out"""
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        return Response(_PAGE, 200, headers, content_type=_HTML)

    def get_asset(self, name: str) -> Response:
        """A file of the page."""
        if name == START:
            content, media_type = _START.encode(), "text/javascript; charset=utf-8"
        elif name in ASSETS:
            content, media_type = resources.files("flask_swagger_ui").joinpath("dist", name).read_bytes(), ASSETS[name]
        else:
            return problem("not-found", "There is no such file.")
        return Response(content, 200, {"Cache-Control": "public, max-age=3600"}, content_type=media_type)
