"""Keys from a JWKS URL, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from api import token_keys
from api.app import create_app
from api.auth import TokenPolicy, TokenVerifier, Unauthenticated
from api.problems import Refusal

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
WEAK = rsa.generate_private_key(65537, 1024)
SECRET = "a symmetric key that somebody published"


def jwk(algorithm: Any, key: Any, kid: str, **members: Any) -> dict[str, Any]:
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **members}


KEYS = [
    jwk(RSAAlgorithm, RSA, "rsa"),
    jwk(RSAAlgorithm, RSA, "rsa-512", alg="RS512"),
    jwk(RSAAlgorithm, RSA, "encryption", use="enc"),
    jwk(RSAAlgorithm, WEAK, "weak"),
    jwk(ECAlgorithm, EC, "ec", alg="ES256"),
    jwk(OKPAlgorithm, ED, "ed", alg="EdDSA"),
    {"kty": "oct", "kid": "oct", "k": "YSBzeW1tZXRyaWMga2V5IHRoYXQgc29tZWJvZHkgcHVibGlzaGVk", "alg": "HS256"},
]


class JwksServer:
    """An identity provider that can be broken."""

    def __init__(self) -> None:
        self.status, self.body, self.requests = 200, json.dumps({"keys": KEYS}).encode(), 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[JwksServer]:
    server = JwksServer()
    yield server
    server.close()


@pytest.fixture
def verifier(server: JwksServer, clock: Any) -> TokenVerifier:
    return TokenVerifier(TokenPolicy(jwks_url=server.url), clock)


@pytest.mark.parametrize(("kid", "key", "algorithm"), [("rsa", RSA, "RS256"), ("ec", EC, "ES256"), ("ed", ED, "EdDSA")])
def test_keys_by_id(
    *, verifier: TokenVerifier, server: JwksServer, tokens: Any, kid: str, key: Any, algorithm: str
) -> None:
    for user in (1, 2, 3):
        assert verifier.verify(tokens.make(user, key, algorithm, {"kid": kid})).user == user
    assert server.requests == 1


def test_refused_keys(verifier: TokenVerifier, tokens: Any) -> None:
    def refused(reason: str, key: Any, algorithm: str, kid: Any) -> None:
        headers = None if kid is None else {"kid": kid}
        with pytest.raises(Unauthenticated, match=reason):
            verifier.verify(tokens.make(1, key, algorithm, headers))

    refused("names no key id", RSA, "RS256", None)
    refused("not known", RSA, "RS256", "nobody")
    refused("not known", RSA, "RS256", "encryption")
    refused("kind that is not accepted", SECRET, "HS256", "oct")
    refused("kind that is not accepted", RSA, "RS512", "rsa-512")
    refused("signature", RSA, "RS512", "rsa")
    refused("signature", SECRET, "HS256", "rsa")
    refused("signature", ec.generate_private_key(ec.SECP256R1()), "ES256", "ec")
    refused("signature", EC, "ES256", "rsa")


def test_weak_keys(verifier: TokenVerifier, tokens: Any) -> None:
    with pytest.warns(UserWarning, match="1024 bits"):
        token = tokens.make(1, WEAK, "RS256", {"kid": "weak"})
    with pytest.raises(Unauthenticated, match="not accepted"):
        verifier.verify(token)


def test_unknown_key_ids_do_not_flood_the_provider(verifier: TokenVerifier, server: JwksServer, tokens: Any) -> None:
    for number in range(20):
        with pytest.raises(Unauthenticated):
            verifier.verify(tokens.make(1, RSA, "RS256", {"kid": f"invented-{number}"}))
    assert server.requests <= 2


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"{}"), (404, b"not here"), (200, b"<html>"), (200, b"\xff"), (200, b"[]"), (200, b'{"keys": []}')],
)
def test_a_broken_provider_is_our_outage_not_the_callers_fault(
    *, verifier: TokenVerifier, server: JwksServer, tokens: Any, clock: Any, status: int, body: bytes
) -> None:
    good, server.status, server.body = server.body, status, body
    token = tokens.make(1, RSA, "RS256", {"kid": "rsa"})
    for _ in range(3):
        with pytest.raises(Refusal) as refused:
            verifier.verify(token)
        assert refused.value.slug == "keys-unavailable"
    assert server.requests == 1, "it fails fast for a while"
    server.status, server.body = 200, good
    clock.advance(token_keys.JWKS_BACKOFF)
    assert verifier.verify(token).user == 1


def test_an_unreachable_provider_is_503(
    runtime: Any, server: JwksServer, tokens: Any, clock: Any, is_problem: Any
) -> None:
    server.close()
    verifier = TokenVerifier(TokenPolicy(jwks_url=server.url), clock)
    client = create_app(runtime.services, verifier).test_client()
    token = tokens.make(1, RSA, "RS256", {"kid": "rsa"})
    response = client.get("/orders", headers={"Authorization": f"Bearer {token}"})
    is_problem(response, "keys-unavailable", 503)
    assert int(response.headers["Retry-After"]) > 0
    assert server.url not in response.text
    assert client.get("/orders").status_code == 401


def test_a_silent_provider_is_given_up(tokens: Any, clock: Any, monkeypatch: Any) -> None:
    import socket

    monkeypatch.setattr(token_keys, "JWKS_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        verifier = TokenVerifier(TokenPolicy(jwks_url=f"http://127.0.0.1:{silent.getsockname()[1]}/"), clock)
        with pytest.raises(Refusal, match="can't be fetched"):
            verifier.verify(tokens.make(1, RSA, "RS256", {"kid": "rsa"}))
