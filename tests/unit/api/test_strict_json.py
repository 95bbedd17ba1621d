"""Bodies are strict JSON, of the right media type and size, or refused."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from api.problems import Refusal
from api.strict_json import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, parse_json


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'"text"',
        b"null",
        b" [1, -1, 0.5, 1e3, true] ",
        f"[{MAX_INTEGER}, -{MAX_INTEGER}]".encode(),
        '{"name": "Käse \U0001f9c0"}'.encode(),
        rb'"\ud83e\uddc0 \u00e4"',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    ],
)
def test_accepts_json(body: bytes) -> None:
    assert parse_json(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"\xff\xfe{}", "UTF-8"),
        (b'"\xc3"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"// comment\n{}", "not JSON"),
        (b"[01]", "not JSON"),
        (b"[+1]", "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b"1e400", "too large"),
        (b"[-1e999]", "too large"),
        (str(MAX_INTEGER + 1).encode(), "too large"),
        (str(-MAX_INTEGER - 1).encode(), "too large"),
        (b"9" * 1_000_000, "too large"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "twice"),
        (rb'"a\u0000b"', "NUL"),
        (rb'{"a\u0000": 1}', "NUL"),
        (rb'"\ud800"', "surrogate"),
        (rb'["\udc00\ud800"]', "surrogate"),
        (rb'{"\ud83e": 1}', "surrogate"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "deep"),
        (b"[" * 500_000, "deep"),
        (b"[" * 200_000 + b"]" * 200_000, "deep"),
        (b'{"a":' * 150_000, "deep"),
    ],
)
def test_refuses_what_is_not_strict_json(body: bytes, complaint: str) -> None:
    with pytest.raises(Refusal, match=complaint) as refused:
        parse_json(body)
    assert refused.value.slug == "malformed-json"
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON; Charset="UTF-8"',
        "application/json;charset=utf8",
        "application/json; profile=x",
    ],
)
def test_accepts_the_media_type(client: Any, alice: Any, content_type: str) -> None:
    assert client.post("/orders/new", headers=alice, data=b'["1"]', content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "nonsense",
    ],
)
def test_refuses_other_media_types(client: Any, alice: Any, is_problem: Any, content_type: str | None) -> None:
    response = client.post("/orders/new", headers=alice, data=b'["1"]', content_type=content_type)
    is_problem(response, "unsupported-media-type", 415)
    assert client.get("/orders", headers=alice).json == []


def test_refuses_content_codings(client: Any, alice: Any, is_problem: Any) -> None:
    headers = {**alice, "Content-Type": "application/json"}
    refused = client.post("/orders/new", headers={**headers, "Content-Encoding": "gzip"}, data=b'["1"]')
    is_problem(refused, "unsupported-media-type", 415)
    accepted = client.post("/orders/new", headers={**headers, "Content-Encoding": "identity"}, data=b'["1"]')
    assert accepted.status_code == 201


@pytest.mark.parametrize("content_type", ["application/json", None])
def test_a_missing_body_is_a_bad_request(client: Any, alice: Any, is_problem: Any, content_type: str | None) -> None:
    is_problem(client.post("/orders/new", headers=alice, content_type=content_type), "malformed-json", 400)


def padded(size: int) -> bytes:
    return b'["1"]' + b" " * (size - 5)


def chunked(body: bytes) -> dict[str, Any]:
    """What gunicorn makes of a body sent in chunks, with no length."""
    return {
        "input_stream": io.BytesIO(body),
        "environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
        "content_type": "application/json",
    }


def test_a_body_may_have_one_mebibyte(client: Any, alice: Any) -> None:
    sent = client.post("/orders/new", headers=alice, data=padded(MAX_BYTES), content_type="application/json")
    assert sent.status_code == 201
    assert client.post("/orders/new", headers=alice, **chunked(padded(MAX_BYTES))).status_code == 201


@pytest.mark.parametrize("size", [MAX_BYTES + 1, MAX_BYTES + 2, 3 * MAX_BYTES])
def test_a_larger_body_is_refused(client: Any, alice: Any, is_problem: Any, size: int) -> None:
    sent = client.post("/orders/new", headers=alice, data=padded(size), content_type="application/json")
    is_problem(sent, "request-too-large", 413)
    is_problem(client.post("/orders/new", headers=alice, **chunked(padded(size))), "request-too-large", 413)


def test_a_body_that_breaks_off_is_a_bad_request(client: Any, alice: Any, is_problem: Any) -> None:
    response = client.post(
        "/orders/new",
        headers=alice,
        input_stream=io.BytesIO(b'["1"'),
        environ_overrides={"CONTENT_LENGTH": "100"},
        content_type="application/json",
    )
    is_problem(response, "bad-request", 400)
