"""Bad input of every kind, on the wire: the right problem document, nothing recorded, and never a hang."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from ledger.storage import open_database
from ledger.storage.recorder import read_log
from projections.check import differences
from tests.support.server import SECRET, Server, token
from tests.support.stripe_server import WEBHOOK_SECRET
from tests.support.stripe_webhooks import signature
from tests.support.wire import Answer, exchange, request

NEW, UPDATE, LEADS = "POST /orders/new", "POST /orders/status-update", "PUT /leads/statuses/order"
REFUND, PAY, WEBHOOK = "POST /orders/1/refunds", "POST /payments/create-payment-intent", "POST /webhooks/stripe"
COMMANDS = (NEW, UPDATE, LEADS, REFUND, PAY)
AUTH = f"Authorization: Bearer {token(1)}"
TYPE = "Content-Type: application/json"
GOOD = {NEW: b'["1"]', UPDATE: b'{"orderId":1,"status":"cancelled"}', LEADS: b'{"id":4,"statusOrder":1}'}
GOOD |= {REFUND: b'{"amountInCents":1}', PAY: b'{"amount":1000}'}
GOOD |= {WEBHOOK: b'{"id":"evt_1","object":"event","type":"customer.created","created":1,"data":{"object":{}}}'}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one order. In the end there is still one event, no view differs and nothing failed inside."""
    directory: Path = tmp_path_factory.mktemp("server")
    started = Server(directory, f"sqlite:///{directory}/ledger.db", workers=1, threads=4)
    started.environ["STRIPE_WEBHOOK_SECRET"] = WEBHOOK_SECRET
    started.start()
    made = exchange(started.url, request("POST", "/orders/new", AUTH, TYPE, body=GOOD[NEW]))
    assert (made.status, json.loads(made.body)["id"]) == (201, 1)
    yield started
    assert exchange(started.url, request("GET", "/healthz")).status == 200
    started.stop()
    database = open_database(started.environ["LEDGER_DATABASE_URL"])
    try:
        assert differences(database) == []
        with database.snapshot() as cursor:
            assert [event.type for event in read_log(cursor)] == ["OrderCreated"]
    finally:
        database.close()
    assert [line for line in started.log if "Traceback" in line or "[ERROR]" in line] == []


def refused(server: Server, sent: bytes, status: int, slug: str | None, *, half_close: bool = False) -> Answer:
    """Sends it and expects this problem."""
    answer = exchange(server.url, sent, half_close=half_close)
    document = answer.problem()
    assert answer.status == status, document
    assert document["type"] == (f"/problems/{slug}" if slug else "about:blank"), document
    return answer


def command(operation: str, body: bytes, *headers: str) -> bytes:
    method, path = operation.split()
    return request(method, path, AUTH, *(headers or (TYPE,)), body=body)


MALFORMED_JSON: dict[str, bytes] = {
    "nothing": b"",
    "white space": b"  \n",
    "half a text": b'["1"',
    "two texts": b'["1"] ["1"]',
    "a trailing comma": b'["1",]',
    "single quotes": b"['1']",
    "a comment": b'["1"] // one',
    "NaN": b'[{"id":1,"quantity":NaN}]',
    "Infinity": b'[{"id":1,"quantity":Infinity}]',
    "minus Infinity": b"[-Infinity]",
    "a float too large": b'[{"id":1,"quantity":1e999}]',
    "an integer too large": b'[{"id":1,"quantity":9007199254740992}]',
    "a million digits": b"[" + b"9" * 1_000_000 + b"]",
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets, closed": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "17 brackets": b"[" * 17 + b"]" * 17,
    "invalid UTF-8": b'["\xff"]',
    "half a character": b'["\xc3',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "overlong UTF-8": b'["\xc0\xaf"]',
    "UTF-16": '["1"]'.encode("utf-16"),
    "UTF-32": '["1"]'.encode("utf-32-le"),
    "a byte order mark": b'\xef\xbb\xbf["1"]',
    "a name twice": b'[{"id":1,"id":1,"quantity":1}]',
    "a name twice, once escaped": b'[{"id":1,"\\u0069d":1,"quantity":1}]',
    "a raw NUL": b'["1\x00"]',
    "an escaped NUL": b'["\\u0000"]',
    "a NUL in a name": b'[{"id":1,"quantity":1,"name":"\\u0000"}]',
    "a lone high surrogate": b'["\\ud800"]',
    "a lone low surrogate": b'["\\udc00x"]',
    "surrogates in the wrong order": b'["\\udc00\\ud800"]',
    "a raw line break": b'["a\nb"]',
}
EMPTY: dict[str, Any] = {}
WRONG: list[Any] = ["1", True, 1.5, None, [1], EMPTY]
MISSHAPEN: dict[str, list[Any]] = {
    NEW: [{}, "1", 1, None, True, [1], [None], [[]], [{}], [{"id": 1}], [{"id": "1", "quantity": 1}]]
    + [[{"id": 1, "quantity": quantity}] for quantity in WRONG]
    + [[{"id": 1, "quantity": 1, "extra": 1}], [{"id": 1, "quantity": 1, "name": 1}]]
    + [[{"id": 1, "quantity": 1, "priceInCents": "1999"}], [{"id": 1, "quantity": 1, "__proto__": {}}]],
    UPDATE: [[], "x", 1, None, {}, {"orderId": 1}, {"status": "cancelled"}, [{"orderId": 1, "status": "cancelled"}]]
    + [{"orderId": id, "status": "cancelled"} for id in [*WRONG, 0, -1]]
    + [{"orderId": 1, "status": status} for status in (1, None, True, ["cancelled"], EMPTY)]
    + [{"orderId": 1, "status": "cancelled", "extra": 1}],
    LEADS: ["x", 1, None, {}, [1], [[]], {"id": 4}, {"statusOrder": 1}, {"id": "4", "statusOrder": 1}]
    + [{"id": 4, "statusOrder": place} for place in WRONG]
    + [{"id": 4, "statusOrder": 1, "extra": 1}],
    REFUND: [[], "x", 1, None, [{}], {"extra": 1}, {"amount": 1}] + [{"amountInCents": amount} for amount in WRONG],
    PAY: [[], "x", 1, None, {}, [{"amount": 1}], {"amount": 1, "extra": 1}, {"amount": 1, "currency": "eur"}]
    + [{"amount": amount} for amount in [*WRONG, "1000", 10.5]],
}
MEANINGLESS: list[tuple[str, Any, str]] = [
    (NEW, [], "invalid-cart"),
    (NEW, ["text"], "invalid-cart"),
    (NEW, [{"id": 1, "quantity": 0}], "invalid-cart"),
    (NEW, [{"id": 1, "quantity": -1}], "invalid-cart"),
    (NEW, [{"id": 1, "quantity": 10_001}], "invalid-cart"),
    (NEW, [{"id": 1, "quantity": 2**53 - 1}], "invalid-cart"),
    (NEW, [{"id": 1, "quantity": 1, "priceInCents": 1}], "invalid-cart"),
    (NEW, [{"id": 4, "quantity": 10_000}], "invalid-cart"),
    (NEW, ["1"] * 201, "invalid-cart"),
    (NEW, ["1"] * 100_000, "invalid-cart"),
    (UPDATE, {"orderId": 1, "status": ""}, "unknown-status"),
    (UPDATE, {"orderId": 1, "status": "paid"}, "unknown-status"),
    (UPDATE, {"orderId": 1, "status": "x" * 1_000_000}, "unknown-status"),
    (UPDATE, {"orderId": 1, "status": "Shipped"}, "illegal-move"),
    (UPDATE, {"orderId": 1, "status": "Declined"}, "move-not-allowed"),
    (UPDATE, {"orderId": 1, "status": "Order Paid"}, "payment-not-confirmed"),
    (UPDATE, {"orderId": 2, "status": "Pending"}, "unknown-order"),
    (UPDATE, {"orderId": 2**53 - 1, "status": "Pending"}, "unknown-order"),
    (LEADS, [], "invalid-arrangement"),
    (LEADS, {"id": 5, "statusOrder": 1}, "invalid-arrangement"),
    (LEADS, {"id": 4, "statusOrder": 0}, "invalid-arrangement"),
    (LEADS, {"id": 4, "statusOrder": 5}, "invalid-arrangement"),
    (LEADS, [{"id": 4, "statusOrder": 1}, {"id": 4, "statusOrder": 2}], "invalid-arrangement"),
    (LEADS, [{"id": 4, "statusOrder": 1}] * 30_000, "invalid-arrangement"),
    (PAY, {"amount": 0}, "invalid-amount"),
    (PAY, {"amount": -1}, "invalid-amount"),
    (PAY, {"amount": 100_000_000}, "invalid-amount"),
    (PAY, {"amount": 2**53 - 1}, "invalid-amount"),
]


@pytest.mark.parametrize("operation", COMMANDS)
@pytest.mark.parametrize("name", MALFORMED_JSON)
def test_malformed_json(server: Server, operation: str, name: str) -> None:
    refused(server, command(operation, MALFORMED_JSON[name]), 400, "malformed-json")


@pytest.mark.parametrize(("operation", "body"), [(of, body) for of in COMMANDS for body in MISSHAPEN[of]])
def test_misshapen_bodies(server: Server, operation: str, body: Any) -> None:
    answer = refused(server, command(operation, json.dumps(body).encode()), 400, "invalid-body")
    assert json.loads(answer.body)["errors"]


@pytest.mark.parametrize(("operation", "body", "slug"), MEANINGLESS)
def test_bodies_that_mean_nothing(server: Server, operation: str, body: Any, slug: str) -> None:
    answer = refused(server, command(operation, json.dumps(body).encode()), 400, slug)
    assert len(answer.body) < 20_000


@pytest.mark.parametrize("operation", [*COMMANDS, WEBHOOK])
@pytest.mark.parametrize(
    "headers",
    [
        ("X-None: 1",),
        ("Content-Type:",),
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: multipart/form-data; boundary=x",),
        ("Content-Type: application/problem+json",),
        ("Content-Type: application/jsonx",),
        ("Content-Type: application/json; charset=latin-1",),
        ("Content-Type: application/json; charset=utf-16",),
        ("Content-Type: application/json; charset=nonsense",),
        ("Content-Type: application/json, text/plain",),
        ("Content-Type: " + "x" * 4000,),
        (TYPE, "Content-Encoding: gzip"),
        (TYPE, "Content-Encoding: deflate, br"),
    ],
)
def test_media_types(server: Server, operation: str, headers: tuple[str, ...]) -> None:
    body = gzip.compress(GOOD[operation]) if "Content-Encoding: gzip" in headers else GOOD[operation]
    refused(server, command(operation, body, *headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("operation", [*COMMANDS, WEBHOOK])
def test_more_than_a_mebibyte(server: Server, operation: str) -> None:
    padded = GOOD[operation] + b" " * (MIB + 1 - len(GOOD[operation]))
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(padded), padded)
    chunked = "Transfer-Encoding: chunked"
    refused(server, command(operation, padded), 413, "request-too-large")
    refused(server, command(operation, b"", TYPE, "Content-Length: 99999999999"), 413, "request-too-large")
    refused(server, command(operation, chunks, TYPE, chunked), 413, "request-too-large")
    endless = b"".join(b"10000\r\n" + b" " * 65536 + b"\r\n" for _ in range(17))
    refused(server, command(operation, endless, TYPE, chunked), 413, "request-too-large")


BAD_FRAMING: dict[str, tuple[tuple[str, ...], bytes]] = {
    "a body cut short": (("Content-Length: 100",), b'["1"]'),
    "a chunk cut short": (("Transfer-Encoding: chunked",), b'5\r\n["1'),
    "no last chunk": (("Transfer-Encoding: chunked",), b'5\r\n["1"]\r\n'),
    "a chunk size that is no number": (("Transfer-Encoding: chunked",), b'x\r\n["1"]\r\n0\r\n\r\n'),
    "a negative chunk": (("Transfer-Encoding: chunked",), b'-5\r\n["1"]\r\n0\r\n\r\n'),
    "a chunk longer than it says": (("Transfer-Encoding: chunked",), b'3\r\n["1"]\r\n0\r\n\r\n'),
    "a chunk size too long": (("Transfer-Encoding: chunked",), b"f" * 100 + b'\r\n["1"]\r\n0\r\n\r\n'),
    "two lengths": (("Content-Length: 5", "Content-Length: 6"), b'["1"]'),
    "the same length twice": (("Content-Length: 5", "Content-Length: 5"), b'["1"]'),
    "a list of lengths": (("Content-Length: 5, 5",), b'["1"]'),
    "a signed length": (("Content-Length: +5",), b'["1"]'),
    "a negative length": (("Content-Length: -5",), b'["1"]'),
    "a length in other digits": (("Content-Length: \xb2",), b'["1"]'),
    "a length and chunks": (("Content-Length: 5", "Transfer-Encoding: chunked"), b'5\r\n["1"]\r\n0\r\n\r\n'),
    "chunked twice": (("Transfer-Encoding: chunked, chunked",), b'5\r\n["1"]\r\n0\r\n\r\n'),
}


@pytest.mark.parametrize("name", BAD_FRAMING)
def test_bad_framing(server: Server, name: str) -> None:
    headers, body = BAD_FRAMING[name]
    refused(server, command(NEW, body, TYPE, *headers), 400, "bad-request", half_close=True)


NOT_HTTP: dict[str, tuple[bytes, int]] = {
    "no HTTP at all": (b"GARBAGE\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /orders\r\n\r\n", 400),
    "HTTP/2.0": (b"GET /orders HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/9.9": (b"GET /orders HTTP/9.9\r\nHost: x\r\n\r\n", 400),
    "a bare line feed in a header": (b"GET /orders HTTP/1.1\r\nHost: x\r\nX: a\nb: c\r\n\r\n", 400),
    "a NUL in a header": (b"GET /orders HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
    "a space before the colon": (b"GET /orders HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n", 400),
    "a folded header": (b"GET /orders HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", 400),
    "a header without a colon": (b"GET /orders HTTP/1.1\r\nHost: x\r\nX\r\n\r\n", 400),
    "a space in the path": (b"GET /or ders HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a method in lower case": (b"get /orders HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a very long path": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a very long query": (b"GET /orders?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a giant header": (b"GET /orders HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
    "10,000 headers": (b"GET /orders HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 10_000 + b"\r\n", 431),
    "an expectation": (b"GET /orders HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n", 417),
    "no host": (b"GET /orders HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    "two hosts": (b"GET /orders HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", 400),
    "a host with a space": (b"GET /healthz HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", 400),
    "a host that is an authority": (b"GET /healthz HTTP/1.1\r\nHost: u@h\r\nConnection: close\r\n\r\n", 400),
    "a host with markup": (b"GET /healthz HTTP/1.1\r\nHost: <x>\r\nConnection: close\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_bytes_that_are_not_a_request(server: Server, name: str) -> None:
    sent, status = NOT_HTTP[name]
    answer = exchange(server.url, sent, half_close=True)
    assert answer.status == status, answer
    answer.problem()


@pytest.mark.parametrize("host", ["", "test", "127.0.0.1:8000", "[::1]:8000", "a_b.example:"])
def test_sane_hosts_are_served(server: Server, host: str) -> None:
    assert exchange(server.url, request("GET", "/healthz", host=f"Host: {host}")).status == 200


def test_http_1_0_is_served(server: Server) -> None:
    answer = exchange(server.url, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    refused(server, b"GET /orders HTTP/1.0\r\n\r\n", 401, "unauthenticated")


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "DELETE", "PATCH", "PUT", "TRACE", "CONNECT", "PROPFIND", "BREW", "X" * 20]
)
def test_methods(server: Server, method: str) -> None:
    answer = exchange(server.url, request(method, "/orders/new", AUTH, TYPE, body=GOOD[NEW]))
    if method == "HEAD":
        assert (answer.status, answer.body) == (405, b"")
    elif method == "CONNECT":
        assert answer.status in {400, 405}
    else:
        assert answer.status == 405
        assert answer.problem()["type"] == "/problems/method-not-allowed"
        assert answer.headers["allow"] == "OPTIONS, POST"


def test_a_body_on_get_is_ignored(server: Server) -> None:
    for body in (b'["1"]', b"\xff" * 100_000):
        answer = exchange(server.url, request("GET", "/orders", AUTH, TYPE, body=body))
        assert (answer.status, len(json.loads(answer.body))) == (200, 1)


UNKNOWN_PATHS = [
    "/nowhere",
    "/orders/",
    "/orders//1",
    "/orders/1/",
    "/orders/./1",
    "/orders/../orders",
    "/../etc/passwd",
    "/docs/assets/../index.css",
    "/docs/assets/..%2f..%2f..%2fsetup.cfg",
    "/docs/assets/%2e%2e/__init__.py",
    "/problems/../x",
    "/problems/%3Cscript%3E",
    "/orders/%2f1",
    "/orders/1%00",
    "/orders/%00",
    "/orders/%ff",
    "/orders/%zz",
    "/orders/%",
    "/orders/0",
    "/orders/0/payment",
    "/orders/1/payment/",
    "/orders/01/payment",
    "/webhooks",
    "/orders/-1",
    "/orders/+1",
    "/orders/01",
    "/orders/1.0",
    "/orders/1e0",
    "/orders/0x1",
    "/orders/%31%20",
    "/orders/%D9%A1",
    "/orders/9007199254740992",
    "/orders/" + "9" * 5000,
    "/orders/1;x=1",
    "/ORDERS",
    "/" + "a" * 8000,
    "/" + "a/" * 4000,
]


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_paths(server: Server, path: str) -> None:
    answer = exchange(server.url, request("GET", path, AUTH))
    assert (answer.status, answer.problem()["type"]) == (404, "/problems/not-found")
    assert b"<" not in answer.body


@pytest.mark.parametrize("path", ["//orders/1", "///orders/1", "/orders%2f1"])
def test_other_spellings_of_a_path_are_no_redirect(server: Server, path: str) -> None:
    # WSGI hands over decoded paths without the number of leading slashes; they need a token like any other.
    refused(server, request("GET", path), 401, "unauthenticated")
    answer = exchange(server.url, request("GET", path, AUTH))
    assert (answer.status, json.loads(answer.body)["id"]) == (200, 1)


def test_a_path_that_is_not_ascii(server: Server) -> None:
    refused(server, request("GET", "/orders/\xd9\xa1", AUTH), 400, "bad-request")


BAD_TOKENS: dict[str, str] = {
    "none": "",
    "no scheme": f"Authorization: {token(1)}",
    "another scheme": "Authorization: Basic dTpw",
    "no token": "Authorization: Bearer",
    "two tokens": f"Authorization: Bearer {token(1)} {token(1)}",
    "no token at all": "Authorization: Bearer nonsense",
    "two parts": "Authorization: Bearer a.b",
    "not base64": "Authorization: Bearer !!.!!.!!",
    "expired": f"Authorization: Bearer {token(1, exp=int(time.time()) - 60)}",
    "not yet valid": f"Authorization: Bearer {token(1, nbf=int(time.time()) + 3600)}",
    "no expiry": f"Authorization: Bearer {jwt.encode({'sub': '1'}, SECRET, algorithm='HS256')}",
    "an expiry that is no number": f"Authorization: Bearer {token(1, exp='never')}",
    "an endless expiry": f"Authorization: Bearer {token(1, exp=10**400)}",
    "a forged signature": f"Authorization: Bearer {token(1)[:-4]}AAAA",
    "a changed payload": f"Authorization: Bearer {'.'.join([*token(2).split('.')[:2], token(1).split('.')[2]])}",
    "another key": f"Authorization: Bearer {jwt.encode({'sub': '1', 'exp': 4102444800}, 'x' * 40, algorithm='HS256')}",
    "no algorithm": f"Authorization: Bearer {jwt.encode({'sub': '1', 'exp': 4102444800}, '', algorithm='none')}",
    "another algorithm": f"Authorization: Bearer {jwt.encode({'sub': '1', 'exp': 4102444800}, SECRET * 2, 'HS512')}",
    "no user": f"Authorization: Bearer {jwt.encode({'exp': 4102444800}, SECRET, algorithm='HS256')}",
    "a user that is no number": f"Authorization: Bearer {token(1, sub='root')}",
    "a user below 1": f"Authorization: Bearer {token(0)}",
    "a user too large": f"Authorization: Bearer {token(2**53)}",
    "an unknown role": f"Authorization: Bearer {token(1, 'root')}",
    "a role of the ledger's own": f"Authorization: Bearer {token(1, 'payments')}",
    "an actor that is no user": f"Authorization: Bearer {token(1, act={'sub': 'x'})}",
    "bytes": "Authorization: Bearer \xff\xfe",
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_tokens(server: Server, name: str) -> None:
    headers = [BAD_TOKENS[name], TYPE]
    reads = [("GET", path, b"") for path in ("/orders", "/orders/1", "/orders/1/payment")]
    for method, path, body in [*reads, *((*operation.split(), GOOD[operation]) for operation in COMMANDS)]:
        answer = refused(server, request(method, path, *headers, body=body), 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="order-ledger"')
        assert token(1)[:20].encode() not in answer.body


def test_a_token_that_is_too_long(server: Server) -> None:
    sent = request("GET", "/orders", f"Authorization: Bearer {token(1, x='y' * 7000)}")
    refused(server, sent, 431, None)


@pytest.mark.parametrize("operation", [NEW, UPDATE, REFUND, PAY])
@pytest.mark.parametrize(
    "key", ["", "a b", '"', '""', '"a', 'a"', "a" * 256, '"' + "a" * 256 + '"', "a,b\tc", "\xe9", '"\xe9"']
)
def test_idempotency_keys(server: Server, operation: str, key: str) -> None:
    refused(server, command(operation, GOOD[operation], TYPE, f"Idempotency-Key: {key}"), 400, "invalid-header")


def test_refunds_are_not_for_customers(server: Server) -> None:
    refused(server, command(REFUND, GOOD[REFUND], TYPE, "Idempotency-Key: k"), 403, "forbidden")
    refused(server, command(REFUND, GOOD[REFUND], TYPE), 400, "invalid-header")
    refused(server, command("POST /orders/2/refunds", GOOD[REFUND], TYPE, "Idempotency-Key: k"), 404, "no-such-order")


@pytest.mark.parametrize("name", MALFORMED_JSON)
def test_webhooks_that_are_not_signed(server: Server, name: str) -> None:
    body = MALFORMED_JSON[name]
    forged = f"Stripe-Signature: t={int(time.time())},v1={'0' * 64}"
    refused(server, command(WEBHOOK, body, TYPE, forged), 400, "invalid-signature" if body else "malformed-json")


@pytest.mark.parametrize("name", [name for name, body in MALFORMED_JSON.items() if body and body.isascii()])
def test_webhooks_that_are_signed_and_malformed(server: Server, name: str) -> None:
    body = MALFORMED_JSON[name]
    refused(server, command(WEBHOOK, body, TYPE, f"Stripe-Signature: {signature(body)}"), 400, "malformed-notice")


SIGNATURES = [
    "",
    "x",
    ",",
    "=",
    "t=,v1=",
    "t=1",
    "v1=00",
    "t=1,v1=\xe9",
    "\xe9",
    "t=\xb2,v1=00",
    "t=9" + "9" * 5000,
    ",t" * 2000,
]


@pytest.mark.parametrize("header", SIGNATURES)
def test_signatures(server: Server, header: str) -> None:
    refused(server, command(WEBHOOK, GOOD[WEBHOOK], TYPE, f"Stripe-Signature: {header}"), 400, "invalid-signature")


def test_a_good_webhook_among_the_bad_ones(server: Server) -> None:
    body = GOOD[WEBHOOK]
    sent = request("POST", "/webhooks/stripe", TYPE, f"Stripe-Signature: {signature(body)}", body=body)
    answer = exchange(server.url, sent)
    assert (answer.status, answer.body) == (200, b'{"received":true}')


@pytest.mark.parametrize("tag", ["", "1", "x", '"', '"1', '1"', '"1" "2"', '"1",', ',"1"', 'w/"1"', '"\xe9"', "*, *"])
def test_if_match(server: Server, tag: str) -> None:
    refused(server, command(UPDATE, GOOD[UPDATE], TYPE, f"If-Match: {tag}"), 400, "invalid-header")


@pytest.mark.parametrize("tag", ['"2"', '"0"', '"01"', 'W/"1"', '"x"', '""', '"99999999999999999999999"'])
def test_an_if_match_that_does_not_match(server: Server, tag: str) -> None:
    refused(server, command(UPDATE, GOOD[UPDATE], TYPE, f"If-Match: {tag}"), 412, "version-mismatch")


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "<script>", "a;b", "\xe9", "%0d%0aX-Evil:1", '"a"'])
def test_request_ids_that_are_not_echoed(server: Server, sent: str) -> None:
    answer = refused(server, request("GET", "/nowhere", f"X-Request-Id: {sent}"), 404, "not-found")
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 32
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("name", ["X-Request-Id", "Idempotency-Key", "If-Match"])
@pytest.mark.parametrize("break_", [b"\r", b"\n", b"\x00"])
def test_line_breaks_inside_of_headers(server: Server, name: str, break_: bytes) -> None:
    sent = command(UPDATE, GOOD[UPDATE], TYPE, f"{name}: BREAK").replace(b"BREAK", b"a" + break_ + b"X-Evil: 1")
    answer = exchange(server.url, sent)
    assert (answer.status, "x-evil" in answer.headers) == (400, False)
    answer.problem()


BAD_QUERIES = ["limit=0", "limit=-1", "limit=1001", "limit=1.0", "limit=", "limit=x", "limit=" + "9" * 5000]
BAD_QUERIES += ["limit=%D9%A1", "limit=%00", "limit=1%20", "limit=1&limit=1", "status=Shipped&status=Shipped"]
BAD_QUERIES += ["cursor=0", "cursor=x", "cursor=9007199254740992", "cursor=", "page=1", "Limit=1", "=", "%ff=1"]
BAD_QUERIES += ["x" * 5000, "&".join(f"a{number}=1" for number in range(900))]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_queries(server: Server, query: str) -> None:
    answer = refused(server, request("GET", f"/orders?{query}", AUTH), 400, "invalid-query")
    assert len(answer.body) < 20_000


@pytest.mark.parametrize("status", ["", "paid", "Order%00Paid", "%ff", "order__paid", "x" * 5000])
def test_a_query_for_an_unknown_status(server: Server, status: str) -> None:
    refused(server, request("GET", f"/orders?status={status}", AUTH), 400, "unknown-status")
