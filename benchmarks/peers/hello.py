"""Flask, and nothing else: what a request costs before anything is done."""

from __future__ import annotations

from flask import Flask


def create_app() -> Flask:
    """One route."""
    app = Flask(__name__)

    @app.get("/")
    def hello() -> str:
        return "Hello, World!"

    return app
