"""Which bearer tokens are accepted, and as whom."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from api import auth
from api.app import create_app
from api.auth import CACHE_SECONDS, CACHE_SIZE, TokenPolicy, TokenVerifier, Unauthenticated, bearer_token
from ledger.actor import Actor, Role
from ledger.errors import SettingsError

SECRET = "a shared secret of the tests, long enough"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def segment(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hs256(claims: Any, secret: bytes, header: Any = None) -> str:
    """A token signed by hand, as an attacker would, without the checks of the library."""
    signed = f"{segment({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{segment(claims)}"
    return f"{signed}.{segment(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


@pytest.fixture
def verifier(clock: Any) -> TokenVerifier:
    return TokenVerifier(TokenPolicy(secret=SECRET, leeway=10), clock)


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        verifier.verify(token)
    assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]
    return refused.value.detail


@pytest.mark.parametrize(
    ("claims", "actor"),
    [
        ({}, Actor(1, Role.CUSTOMER)),
        ({"sub": str(2**53 - 1)}, Actor(2**53 - 1, Role.CUSTOMER)),
        ({"role": "customer"}, Actor(1, Role.CUSTOMER)),
        ({"role": "staff"}, Actor(1, Role.STAFF)),
        ({"role": "auditor"}, Actor(1, Role.AUDITOR)),
        ({"role": "admin"}, Actor(1, Role.ADMIN)),
        ({"act": {"sub": "7"}}, Actor(1, Role.CUSTOMER, impersonated_by=7)),
        ({"act": {"sub": "7", "act": {"sub": "x"}}}, Actor(1, Role.CUSTOMER, impersonated_by=7)),
        ({"scope": "anything", "jti": "x"}, Actor(1, Role.CUSTOMER)),
    ],
)
def test_whom_a_token_stands_for(verifier: TokenVerifier, tokens: Any, claims: Any, actor: Actor) -> None:
    assert verifier.verify(tokens.make(**claims)) == actor


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": ...}, "lacks the claim sub"),
        ({"sub": 1}, "not a user id"),
        ({"sub": "0"}, "not a user id"),
        ({"sub": "-1"}, "not a user id"),
        ({"sub": "01"}, "not a user id"),
        ({"sub": " 1"}, "not a user id"),
        ({"sub": "1\n"}, "not a user id"),
        ({"sub": "\u0661"}, "not a user id"),
        ({"sub": "alice"}, "not a user id"),
        ({"sub": ""}, "not a user id"),
        ({"sub": str(2**53)}, "not a user id"),
        ({"sub": "9" * 400}, "not a user id"),
        ({"role": "operator"}, "role"),
        ({"role": "payments"}, "role"),
        ({"role": "Admin"}, "role"),
        ({"role": ["admin"]}, "role"),
        ({"role": None}, "role"),
        ({"act": "7"}, "act.sub"),
        ({"act": {}}, "act.sub"),
        ({"act": None}, "act.sub"),
        ({"act": {"sub": 7}}, "act.sub"),
        ({"exp": ...}, "lacks the claim exp"),
        ({"exp": None}, "lacks the claim exp"),
        ({"exp": "tomorrow"}, "not a time"),
        ({"exp": True}, "not a time"),
        ({"exp": float("nan")}, "not a time"),
        ({"exp": float("inf")}, "not a time"),
        ({"exp": 10**400}, "not a time"),
        ({"exp": [4102444800]}, "not a time"),
        ({"nbf": "now"}, "not a time"),
        ({"iat": {}}, "not a time"),
        ({"aud": "somebody else"}, "audience"),
        ({"jti": 5}, "malformed"),
    ],
)
def test_refused_claims(verifier: TokenVerifier, tokens: Any, claims: Any, reason: str) -> None:
    assert reason in refusal(verifier, hs256(tokens.claims(**claims), SECRET.encode()))


def test_expiry_and_leeway(verifier: TokenVerifier, tokens: Any, clock: Any) -> None:
    now = clock().timestamp()
    for exp in (now + 1, now, now - 9.5):
        assert verifier.verify(tokens.make(exp=exp)).user == 1
    for exp in (now - 10, now - 11, 0, -1):
        assert "expired" in refusal(verifier, tokens.make(exp=exp))
    for claim in ("nbf", "iat"):
        assert verifier.verify(tokens.make(**{claim: now + 10})).user == 1
        assert "not valid yet" in refusal(verifier, tokens.make(**{claim: now + 11}))


@pytest.mark.parametrize("algorithm", KEYS)
def test_public_keys(tokens: Any, clock: Any, algorithm: str) -> None:
    verifier = TokenVerifier(TokenPolicy(public_key=pem(KEYS[algorithm])), clock)
    assert verifier.verify(tokens.make(5, KEYS[algorithm], algorithm)) == Actor(5, Role.CUSTOMER)
    stranger = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1())}
    forged = tokens.make(5, stranger.get(algorithm, ed25519.Ed25519PrivateKey.generate()), algorithm)
    assert "signature" in refusal(verifier, forged)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_public_key_is_no_shared_secret(tokens: Any, clock: Any, algorithm: str) -> None:
    """The classic confusion: HS256 with the public key, which everybody has, as the secret."""
    key = KEYS[algorithm]
    verifier = TokenVerifier(TokenPolicy(public_key=pem(key)), clock)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem(key).encode(), pem(key).strip().encode(), der, b""):
        assert "signature" in refusal(verifier, hs256(tokens.claims(role="admin"), secret))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_only_one_algorithm_a_key(tokens: Any, clock: Any, algorithm: str) -> None:
    verifier = TokenVerifier(TokenPolicy(public_key=pem(RSA)), clock)
    assert "signature" in refusal(verifier, tokens.make(1, RSA, algorithm))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_only_hs256_with_a_shared_secret(verifier: TokenVerifier, tokens: Any, algorithm: str) -> None:
    long_secret = SECRET * 2
    assert "signature" in refusal(verifier, tokens.make(1, long_secret, algorithm))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 1, "HS256 "])
@pytest.mark.parametrize("policy", [TokenPolicy(secret=SECRET), TokenPolicy(public_key=pem(RSA))])
def test_unsigned_tokens(tokens: Any, clock: Any, algorithm: Any, policy: TokenPolicy) -> None:
    verifier = TokenVerifier(policy, clock)
    unsigned = f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(tokens.claims(role='admin'))}."
    refusal(verifier, unsigned)
    refusal(verifier, hs256(tokens.claims(), b"", {"alg": algorithm}))


def test_a_changed_token(verifier: TokenVerifier, tokens: Any) -> None:
    header, claims, signature = tokens.make(role="customer").split(".")
    assert "signature" in refusal(verifier, f"{header}.{segment(tokens.claims(role='admin'))}.{signature}")
    assert "signature" in refusal(verifier, f"{header}.{claims}.{signature[::-1]}")
    refusal(verifier, f"{header}.{claims}.")
    other = hs256(tokens.claims(), b"another secret that is just as long")
    assert "signature" in refusal(verifier, other)


def test_keys_that_the_token_brings_along(verifier: TokenVerifier, tokens: Any) -> None:
    jwk = {"kty": "oct", "k": segment(b"my own key, which I trust very much")}
    for header in (
        {"jwk": jwk},
        {"jku": "http://127.0.0.1:1/jwks"},
        {"x5u": "http://127.0.0.1:1/"},
        {"kid": "../etc/x"},
    ):
        forged = hs256(tokens.claims(), b"my own key, which I trust very much", {"alg": "HS256", **header})
        assert "signature" in refusal(verifier, forged)


@pytest.mark.parametrize(
    "header", [{"alg": "HS256", "crit": ["exp"], "exp": 1}, {"alg": "HS256", "b64": False, "crit": ["b64"]}, [], "x", 1]
)
def test_strange_headers(verifier: TokenVerifier, tokens: Any, header: Any) -> None:
    refusal(verifier, hs256(tokens.claims(), SECRET.encode(), header))


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b", "a.b.c", "a.b.c.d", "..", "a..c", "\xe4.\xf6.\xfc", "a.b.c=", "a b.c.d", "A" * 9000],
)
def test_what_is_no_token_at_all(verifier: TokenVerifier, token: str) -> None:
    assert "malformed" in refusal(verifier, token)


@pytest.mark.parametrize("payload", [b"[]", b"1", b"null", b"{", b"\xff", b"[" * 5000, b'{"a":' * 900])
def test_payloads_that_are_no_claims(verifier: TokenVerifier, payload: bytes) -> None:
    assert "malformed" in refusal(verifier, hs256(payload, SECRET.encode()))


def test_deep_headers(verifier: TokenVerifier) -> None:
    assert "malformed" in refusal(verifier, hs256({}, SECRET.encode(), b"[" * 5000))


def test_tokens_are_bounded(verifier: TokenVerifier, tokens: Any) -> None:
    assert verifier.verify(tokens.make(more="x" * 5000)).user == 1
    assert "malformed" in refusal(verifier, tokens.make(more="x" * 7000))


def test_issuer_and_audience(tokens: Any, clock: Any) -> None:
    verifier = TokenVerifier(TokenPolicy(secret=SECRET, issuer="https://id.example", audience="orders"), clock)
    good = {"iss": "https://id.example", "aud": "orders"}
    assert verifier.verify(tokens.make(**good)).user == 1
    assert verifier.verify(tokens.make(**good | {"aud": ["else", "orders"]})).user == 1
    assert "issuer" in refusal(verifier, tokens.make(**good | {"iss": "https://evil.example"}))
    assert "iss" in refusal(verifier, tokens.make(**good | {"iss": ...}))
    for audience in ("else", ["else"], [""]):
        assert "audience" in refusal(verifier, tokens.make(**good | {"aud": audience}))
    for audience in (..., []):
        assert "lacks the claim aud" in refusal(verifier, tokens.make(**good | {"aud": audience}))


def test_a_verified_token_is_remembered_but_not_past_its_expiry(
    verifier: TokenVerifier, tokens: Any, clock: Any, monkeypatch: Any
) -> None:
    calls = []
    decode = jwt.decode
    monkeypatch.setattr(auth.jwt, "decode", lambda *a, **k: calls.append(1) or decode(*a, **k))
    token = tokens.make(exp=clock().timestamp() + 90)
    for _ in range(3):
        assert verifier.verify(token).user == 1
    assert len(calls) == 1
    clock.advance(CACHE_SECONDS)
    assert verifier.verify(token).user == 1
    assert len(calls) == 2
    clock.advance(39.9)  # within the leeway
    assert verifier.verify(token).user == 1
    clock.advance(0.1)
    assert "expired" in refusal(verifier, token)


def test_refused_tokens_are_not_remembered(verifier: TokenVerifier, tokens: Any, clock: Any) -> None:
    token = tokens.make(nbf=clock().timestamp() + 30)
    refusal(verifier, token)
    clock.advance(30)
    assert verifier.verify(token).user == 1


def test_the_memory_is_bounded(verifier: TokenVerifier, tokens: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(auth, "CACHE_SIZE", 3)
    for user in range(1, 10):
        assert verifier.verify(tokens.make(user)).user == user
    assert len(verifier._verified) == 3
    assert CACHE_SIZE > 1000


def rsa_pem(bits: int) -> str:
    return pem(rsa.generate_private_key(65537, bits))


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        (TokenPolicy, "exactly one"),
        (lambda: TokenPolicy(secret=SECRET, public_key=pem(RSA)), "exactly one"),
        (lambda: TokenPolicy(secret="x" * 31), "32 bytes"),
        (lambda: TokenPolicy(secret=""), "32 bytes"),
        (lambda: TokenPolicy(secret=pem(RSA)), "PEM"),
        (lambda: TokenPolicy(public_key="nonsense"), "not a PEM public key"),
        (
            lambda: TokenPolicy(
                public_key=RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            ),
            "not a PEM public key",
        ),
        (lambda: TokenPolicy(public_key=rsa_pem(1024)), "2048"),
        (lambda: TokenPolicy(public_key=pem(ec.generate_private_key(ec.SECP384R1()))), "P-256"),
        (lambda: TokenPolicy(public_key=pem(ed448.Ed448PrivateKey.generate())), "Ed25519"),
        (lambda: TokenPolicy(jwks_url="file:///etc/passwd"), "http"),
    ],
)
def test_policies_that_make_no_sense(clock: Any, policy: Any, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        TokenVerifier(policy(), clock)


def test_a_policy_does_not_show_its_secret() -> None:
    assert SECRET not in repr(TokenPolicy(secret=SECRET))


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER   abc", " Bearer abc ", "Bearer\tabc"])
def test_the_authorization_header(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", " ", "Basic abc", "abc", "BearerX abc"])
def test_no_bearer_token(client: Any, is_problem: Any, header: str | None) -> None:
    response = client.get("/orders", headers={} if header is None else {"Authorization": header})
    is_problem(response, "unauthenticated", 401)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="order-ledger"'


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "Bearer x", "Bearer a.b.c, Bearer a.b.c"])
def test_a_malformed_bearer_token(client: Any, is_problem: Any, header: str) -> None:
    response = client.get("/orders", headers={"Authorization": header})
    is_problem(response, "unauthenticated", 401)
    challenge = response.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="order-ledger", error="invalid_token", error_description="')


def test_an_actor_without_a_user_has_no_orders(runtime: Any, is_problem: Any) -> None:
    class Nobody:
        def verify(self, token: str) -> Actor:
            return Actor(None, Role.STAFF)

    client = create_app(runtime.services, Nobody()).test_client()  # type: ignore[arg-type]
    is_problem(client.get("/orders", headers={"Authorization": "Bearer x"}), "unauthenticated", 401)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/orders"),
        ("GET", "/orders/1"),
        ("POST", "/orders/new"),
        ("POST", "/orders/status-update"),
        ("PUT", "/leads/statuses/order"),
        ("GET", "/leads/statuses"),
    ],
)
def test_what_needs_a_token(*, client: Any, tokens: Any, is_problem: Any, clock: Any, method: str, path: str) -> None:
    body = {"data": b"\xff{", "content_type": "text/plain"}
    is_problem(client.open(path, method=method, **body), "unauthenticated", 401)
    expired = tokens.headers(exp=clock().timestamp() - 1)
    assert "expired" in is_problem(client.open(path, method=method, headers=expired), "unauthenticated", 401)["detail"]


@pytest.mark.parametrize(
    "path", ["/orders/demo-cart", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/"]
)
def test_what_needs_no_token(client: Any, path: str) -> None:
    assert client.get(path).status_code == 200
    assert client.get(path, headers={"Authorization": "Bearer nonsense"}).status_code == 200
