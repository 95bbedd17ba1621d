"""A Stripe of the tests' own: real HTTP on loopback, with state, idempotency keys, and faults on demand.

Sources: https://docs.stripe.com/api/idempotent_requests, /api/errors, /api/pagination, /api/expanding_objects
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ledger.payments.stripe_objects import Stamp
from tests.support.stripe_http import Http, Seen, serve
from tests.support.stripe_objects import Object, Refused, StripeAccount

SECRET_KEY = "sk_test_planted0123456789abcdef0123456789"
"""The API key that the server takes: greppable, and of test mode."""
WEBHOOK_SECRET = "whsec_planted0123456789abcdef0123456789"
"""What its webhooks are signed with."""
LEDGER_ID = "00c0ffee00c0ffee"
STAMP = Stamp(lambda: LEDGER_ID)
"""Of a ledger without a database."""

When = Literal["before", "after"]
Answer = tuple[int, Object]
_HANGS_AT_MOST = 30


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request, before or after it was carried out.

    ``status``: that is the answer (``None``: none comes, the connection is dropped). ``saved``: Stripe itself failed,
    and keeps answering so to this idempotency key. ``hold``: the request waits for this, and only then goes on.
    """

    when: When
    status: int | None = None
    saved: bool = False
    hold: threading.Event | None = None
    goes_on: bool = False

    @classmethod
    def drop(cls, when: When) -> Fault:
        """The connection breaks."""
        return cls(when)

    @classmethod
    def answer(cls, status: int, when: When, *, saved: bool = False) -> Fault:
        """An error is answered, such as 500, 503 or 429."""
        return cls(when, status=status, saved=saved)

    @classmethod
    def hang(cls, when: When, until: threading.Event) -> Fault:
        """Nothing comes until the event is set; then all goes on as if nothing had been, for nobody who still waits."""
        return cls(when, hold=until, goes_on=True)


@dataclass
class _Fault:
    fault: Fault
    method: str
    path: str
    times: int


@dataclass
class _Kept:
    """What an idempotency key stands for; ``answer`` is ``None`` while the request is under way."""

    request: Seen
    answer: Answer | None = None


class StripeServer(StripeAccount):
    """Answers the calls of the ``stripe`` library; see StripeAccount for what customers and banks can do.

    ``requests`` are those that came, ``acted`` counts the POSTs that were carried out, replays and refusals not.
    """

    def __init__(self, *, secret_key: str = SECRET_KEY, **account: Any) -> None:
        super().__init__(**account)
        self.secret_key = secret_key
        self.requests: list[Seen] = []
        self.acted = 0
        self._faults: deque[_Fault] = deque()
        self._kept: dict[str, _Kept] = {}
        self._numbers = itertools.count(1)
        self._port = 0
        self._http: Http | None = None
        self.start()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listens: again on the port that it had, when it was stopped."""
        self._http = serve(Http(self._port, self.handle))
        self._port = self._http.server_address[1]

    def stop(self) -> None:
        """Breaks all connections, and refuses new ones until it is started again."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def __enter__(self) -> StripeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def inject(self, fault: Fault, *, times: int = 1, method: str = "POST", path: str = "/v1/") -> None:
        """The next so many requests of a method, to paths that begin so, meet this fault."""
        with self.lock:
            self._faults.append(_Fault(fault, method, path, times))

    def heal(self) -> None:
        """No fault is left waiting."""
        with self.lock:
            self._faults.clear()

    def forget_keys(self) -> None:
        """A day has passed: idempotency keys are new again."""
        with self.lock:
            self._kept.clear()

    def posts(self, path: str) -> list[Seen]:
        """The POSTs to a path that came."""
        return [seen for seen in self.requests if (seen.method, seen.path) == ("POST", path)]

    def handle(self, seen: Seen, authorization: str | None) -> tuple[int, Object, dict[str, str]] | None:
        """The answer (status, body, headers) to a request; ``None``: the connection is dropped."""
        headers = {"Request-Id": f"req_{next(self._numbers):08d}"}
        with self.lock:
            self.requests.append(seen)
            fault = self._next_fault(seen)
        if authorization != f"Bearer {self.secret_key}":
            return 401, _error("Invalid API Key provided: sk_test_****", kind="invalid_request_error"), headers
        if fault is not None and fault.when == "before" and not fault.goes_on:
            return None if fault.status is None else (fault.status, _error("Not now."), headers)
        kept, refusal = self._claim(seen)
        if refusal is not None:
            return *refusal, headers
        if fault is not None and fault.when == "before":
            _wait(fault.hold)
        if kept is not None and kept.answer is not None:
            status, body = kept.answer
            headers["Idempotent-Replayed"] = "true"
        else:
            status, body = self._act_and_keep(seen, kept, fault)
        if fault is not None and fault.when == "after":
            _wait(fault.hold)
            if not fault.goes_on and not fault.saved:
                headers.pop("Idempotent-Replayed", None)
                return None if fault.status is None else (fault.status, _error("Something went wrong."), headers)
        return status, body, headers

    def _next_fault(self, seen: Seen) -> Fault | None:
        for waiting in self._faults:
            if waiting.method == seen.method and seen.path.startswith(waiting.path):
                waiting.times -= 1
                if not waiting.times:
                    self._faults.remove(waiting)
                return waiting.fault
        return None

    def _claim(self, seen: Seen) -> tuple[_Kept | None, Answer | None]:
        if seen.key is None:
            return None, None
        with self.lock:
            kept = self._kept.get(seen.key)
            if kept is None:
                kept = self._kept[seen.key] = _Kept(seen)
                return kept, None
            if (kept.request.path, kept.request.params) != (seen.path, seen.params):
                message = "Keys for idempotent requests can only be used with the same parameters."
                return None, (400, _error(message, kind="idempotency_error"))
            if kept.answer is None:
                message = "There is currently another in-progress request using this Idempotent Key."
                return None, (409, _error(message, kind="idempotency_error", code="idempotency_key_in_use"))
            return kept, None

    def _act_and_keep(self, seen: Seen, kept: _Kept | None, fault: Fault | None) -> Answer:
        with self.lock:
            answer, saved = self._act(seen)
            if kept is not None and seen.key is not None:
                if fault is not None and fault.saved and fault.status is not None:
                    answer = kept.answer = (fault.status, _error("Something went wrong."))
                elif saved:
                    kept.answer = answer
                else:
                    del self._kept[seen.key]
            return answer

    def _act(self, seen: Seen) -> tuple[Answer, bool]:
        """The answer, and whether it is kept for the idempotency key."""
        try:
            body = self._routed(seen.method, seen.path.removeprefix("/v1/").split("/"), seen.params)
        except Refused as refused:
            return (refused.status, refused.body), refused.saved
        self.acted += seen.method == "POST"
        return (200, copy.deepcopy(body)), True

    def _routed(self, method: str, path: list[str], params: Mapping[str, str]) -> Object:  # noqa: PLR0911  a line a route
        match method, path:
            case "POST", ["payment_intents"]:
                return self.create(_amount(params) or 0, params.get("currency", ""), _group(params, "metadata"))
            case "GET", ["payment_intents"]:
                return self._page("/v1/payment_intents", self.intents, params)
            case "GET", ["payment_intents", intent_id]:
                return self._expanded(self.intent(intent_id), params)
            case "POST", ["payment_intents", intent_id, "cancel"]:
                self.cancel(intent_id)
                return self._expanded(self.intent(intent_id), params)
            case "POST", ["refunds"]:
                self.refund(params.get("payment_intent", ""), _amount(params))
                made = next(reversed(self.refunds.values()))
                made["metadata"] = _group(params, "metadata")
                return made
            case "GET", ["refunds"]:
                return self._page("/v1/refunds", self.refunds, params)
            case "GET", ["disputes"]:
                return self._page("/v1/disputes", self.disputes, params)
            case "GET", ["refunds", refund_id] if refund_id in self.refunds:
                return self.refunds[refund_id]
        raise Refused(None, f"Unrecognized request URL ({method}: /v1/{'/'.join(path)}).", status=404)

    def _page(self, url: str, objects: dict[str, Object], params: Mapping[str, str]) -> Object:
        rows = [row for row in reversed(objects.values()) if row["created"] >= int(params.get("created[gte]", 0))]
        if wanted := params.get("payment_intent"):
            rows = [row for row in rows if row["payment_intent"] == wanted]
        if after := params.get("starting_after"):
            ids = [row["id"] for row in rows]
            if after not in ids:
                raise Refused("resource_missing", f"No such object: '{after}'", param="starting_after")
            rows = rows[ids.index(after) + 1 :]
        limit = int(params.get("limit", 10))
        data = [self._expanded(row, params, within="data.") for row in rows[:limit]]
        return {"object": "list", "url": url, "has_more": len(rows) > limit, "data": data}

    def _expanded(self, row: Object, params: Mapping[str, str], within: str = "") -> Object:
        wanted = [value for name, value in params.items() if name.startswith("expand[")]
        if f"{within}latest_charge" not in wanted or not row.get("latest_charge"):
            return row
        return row | {"latest_charge": self.charges[row["latest_charge"]]}


def _wait(hold: threading.Event | None) -> None:
    if hold is not None:
        hold.wait(_HANGS_AT_MOST)


def _error(message: str, *, kind: str = "api_error", code: str | None = None) -> Object:
    return {"error": {"type": kind, "message": message} | ({"code": code} if code else {})}


def _amount(params: Mapping[str, str]) -> int | None:
    amount = params.get("amount")
    if amount is None:
        return None
    if not amount.isascii() or not amount.isdecimal():
        raise Refused("parameter_invalid_integer", f"Invalid integer: {amount}", param="amount")
    return int(amount)


def _group(params: Mapping[str, str], name: str) -> dict[str, str]:
    prefix = f"{name}["
    return {key[len(prefix) : -1]: value for key, value in params.items() if key.startswith(prefix)}
