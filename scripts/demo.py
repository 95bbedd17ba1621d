"""``make demo``: an order's life over HTTP, from the demo cart to its replay, on a server and a database of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.bootstrap import environment

_CLI = (sys.executable, "-m", "scripts.cli")
_STOP_SECONDS = 30


class Unexpected(Exception):
    """An answer that the demo did not expect."""


class Tour:
    """Sends requests, and shows each of them with its answer."""

    def __init__(self, url: str, environ: dict[str, str]) -> None:
        self._address = urlsplit(url).netloc
        self._environ = environ

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, expected: int) -> Any:
        """One request; returns the decoded answer. Raises Unexpected on another status."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body)
        connection = HTTPConnection(self._address, timeout=30)
        try:
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        print(f"\n> {method} {path}" + (f"  {payload}" if payload else ""))
        print(f"< {response.status} {response.reason}")
        print(_indented(_pretty(answer)))
        if response.status != expected:
            raise Unexpected(f"{method} {path} answered {response.status}, not {expected}")
        return answer

    def command(self, *arguments: str, shown: bool = True) -> str:
        """One run of the command line; returns what it printed."""
        done = subprocess.run((*_CLI, *arguments), env=self._environ, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        if shown:
            print(f"\n$ order-ledger {' '.join(arguments)}")
            print(_indented(done.stdout.rstrip()))
        return done.stdout.strip()


@contextmanager
def running_server(environ: dict[str, str]) -> Iterator[str]:
    """A server on a free port; yields its URL once it answers, and stops it in the end."""
    command = (*_CLI, "serve", "--bind", "127.0.0.1:0", "--workers", "2")
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        assert server.stderr is not None  # noqa: S101 - it is a pipe
        try:
            lines = []
            for line in server.stderr:
                lines.append(line)
                if line.startswith("Listening on "):
                    yield line.removeprefix("Listening on ").strip()
                    return
            raise Unexpected("the server did not start:\n" + "".join(lines))
        finally:
            server.terminate()
            server.communicate(timeout=_STOP_SECONDS)


def tour(url: str, environ: dict[str, str]) -> None:
    """The life of one order."""
    step = Tour(url, environ)
    customer = step.command("token", "--user", "7", shown=False)
    staff = step.command("token", "--user", "900", "--role", "staff", shown=False)

    print("A cart, and the order made from it unchanged")
    cart = step.call("GET", "/orders/demo-cart", expected=200)
    order = step.call("POST", "/orders/new", cart, token=customer, expected=201)
    _expect(order["status"], "pending")
    _expect(order["amountInCents"], sum(line["quantity"] * line["priceInCents"] for line in cart))
    paid = {"orderId": order["id"], "status": "Order Paid"}

    print("\nNo customer marks an order paid that isn't")
    step.call("POST", "/orders/status-update", paid, token=customer, expected=400)

    print("\nThe customer pays, staff ships, and the order is completed")
    step.command("pay", str(order["id"]))
    for status, token in (("Order Paid", customer), ("Shipped", staff), ("Completed", staff)):
        update = {"orderId": order["id"], "status": status}
        answer = step.call("POST", "/orders/status-update", update, token=token, expected=200)
        _expect(answer, {"id": order["id"], "status": status.lower().replace(" ", "_")})

    print("\nThe customer's orders, and what the log tells about this one")
    listed = step.call("GET", "/orders", token=customer, expected=200)
    _expect([(each["id"], each["status"]) for each in listed], [(order["id"], "completed")])
    step.command("replay", str(order["id"]))
    replayed = json.loads(step.command("replay", str(order["id"]), "--json", shown=False))
    statuses = [event["body"]["status"] for event in replayed["events"] if event["type"] == "StatusChanged"]
    _expect(statuses, ["order_paid", "shipped", "completed"])


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise Unexpected(f"expected {expected}, found {found}")


def _pretty(answer: Any) -> str:
    """Indented, with an object that holds no other on one line."""
    return re.sub(r"\{[^{}\[\]]*\}", lambda flat: " ".join(flat[0].split()), json.dumps(answer, indent=2))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def main() -> int:
    """Runs the demo; 0 when everything went as expected."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory(prefix="order-ledger-demo-") as directory:
        environ = {name: value for name, value in environment().items() if not name.startswith(("LEDGER_", "STRIPE_"))}
        environ["LEDGER_DATABASE_URL"] = f"sqlite:///{Path(directory, 'ledger.db')}"
        environ["LEDGER_VAR_DIR"] = directory
        environ["LEDGER_LOG_LEVEL"] = "warning"
        try:
            with running_server(environ) as url:
                print(f"A server of its own listens on {url}.\n")
                tour(url, environ)
        except (Unexpected, OSError, subprocess.SubprocessError) as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
    print("\nAll as expected.")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
