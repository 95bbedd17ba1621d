"""localstripe, a Stripe that others wrote, as a process of its own; and what it lacks, made up for on the way to it.

It is under the GPL: nothing of the ledger imports it, and only the tests start it. https://github.com/adrienverge/localstripe
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import requests
import stripe

from tests.support.stripe_http import Http, Seen, serve
from tests.support.stripe_objects import Object
from tests.support.stripe_server import SECRET_KEY

GOOD_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000341"
"""It can be given, and is declined when it is charged."""
_SECONDS = 30
# Its own command listens on every interface. Started so it has nothing of an earlier run, as with --from-scratch.
_PROGRAM = """
import socket, sys
from aiohttp import web
from localstripe.server import app
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None)
"""


class LocalStripe:
    """A running localstripe; ``url`` is where the ledger finds it.

    It differs from Stripe: it knows no ``automatic_payment_methods``, ``amount_received`` or error codes, ignores
    idempotency keys, and takes a card only with the creation of an intent. All but the keys is put right between the
    ledger and it.
    """

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._own_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            command = (sys.executable, "-c", _PROGRAM, str(listener.fileno()))
            self._process = subprocess.Popen(command, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL)
        self._session = requests.Session()
        self._session.trust_env = False
        self._http = serve(Http(0, self._pass_on))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.client = stripe.StripeClient(
            SECRET_KEY, base_addresses={"api": self._own_url}, http_client=stripe.RequestsClient(timeout=_SECONDS)
        )
        self._card = self._payment_method(GOOD_CARD)

    def __enter__(self) -> LocalStripe:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._session.close()
        self._process.terminate()
        self._process.wait(_SECONDS)

    def use_card(self, number: str) -> None:
        """The card of those who order from now on."""
        self._card = self._payment_method(number)

    def confirm(self, intent_id: str) -> stripe.PaymentIntent:
        """The customer pays. Raises stripe.CardError."""
        return self.client.v1.payment_intents.confirm(intent_id)

    def _payment_method(self, number: str) -> str:
        card: Any = {"number": number, "exp_month": 12, "exp_year": 2030, "cvc": "123"}
        return self.client.v1.payment_methods.create({"type": "card", "card": card}).id

    def _pass_on(self, seen: Seen, authorization: str | None) -> tuple[int, Object, dict[str, str]]:
        params = {name: value for name, value in seen.params.items() if not name.startswith("automatic_payment")}
        if (seen.method, seen.path) == ("POST", "/v1/payment_intents"):
            params["payment_method"] = self._card
        sent = {"params": params} if seen.method == "GET" else {"data": params}
        headers = {"Authorization": authorization or ""}
        answer = self._session.request(
            seen.method,
            self._own_url + seen.path,
            headers=headers,
            timeout=_SECONDS,
            **sent,  # type: ignore[arg-type]
        )
        body = answer.json()
        if body.get("object") == "payment_intent":
            body["amount_received"] = body["amount"] if body["status"] == "succeeded" else 0
        if answer.status_code == requests.codes.not_found:
            body["error"]["code"] = "resource_missing"
        return answer.status_code, body, {}


def metadata_of(intent: stripe.PaymentIntent) -> Mapping[str, str]:
    """Its metadata, as a mapping."""
    return intent.metadata.to_dict()
