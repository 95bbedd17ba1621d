#!/usr/bin/env python3
"""Verifies an exported order log, alone: for an auditor who trusts neither the operator nor the ledger's own code.

    python verify_export.py log.jsonl --key log.example/orders+...  [--checkpoint older.checkpoint]

It needs Python 3.11, the package ``cryptography`` for Ed25519, and nothing else; docs/audit.md explains the formats.
Exit code 0: the log is whole and every checkpoint was signed for it. 1: something is wrong, and what. 2: wrong usage.

Read from the top: (1) a Merkle tree over the events as RFC 6962 has it; (2) checkpoints, which are notes signed with
Ed25519 as https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note have them; (3) what a checkpoint says of
the orders that were served; (4) what orders may do; (5) the audit, which puts these together.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256, shake_128
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]
Key = tuple[str, bytes, Ed25519PublicKey, bool]


class Wrong(Exception):
    """Something is not as it should be."""


# (1) The tree -----------------------------------------------------------------------------------------------------


class Tree:
    """A Merkle tree that grows leaf by leaf; it keeps only the roots of its perfect subtrees, the largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.roots: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Appends a leaf: while there is a subtree as large as the one that it ends, the two become one."""
        node, size = sha256(b"\0" + data).digest(), self.size
        while size % 2:
            node, size = sha256(b"\1" + self.roots.pop() + node).digest(), size // 2
        self.roots.append(node)
        self.size += 1

    def root(self) -> str:
        """The root over all leaves, as base64."""
        if not self.roots:
            return base64.b64encode(sha256(b"").digest()).decode()
        *others, node = self.roots
        for each in reversed(others):
            node = sha256(b"\1" + each + node).digest()
        return base64.b64encode(node).decode()


# (2) Checkpoints --------------------------------------------------------------------------------------------------


class Checkpoint(NamedTuple):
    """What a log says of itself at one size; ``orders``: and of the orders that it served then, if it does."""

    origin: str
    size: int
    root: str
    orders: list[str]


def parse_key(text: str) -> Key:
    """Name, id (of a hash of the rest) and key of a verifier key NAME+ID+BASE64, and whether it is a witness's."""
    name, _, rest = text.partition("+")
    key = base64.b64decode(rest.partition("+")[2], validate=True)
    key_id = sha256(name.encode() + b"\n" + key).digest()[:4]
    if key[:1] not in (b"\1", b"\4") or rest.partition("+")[0] != key_id.hex():  # Ed25519, of a log or a witness
        raise ValueError("the key's id is not that of its name and key")
    return name, key_id, Ed25519PublicKey.from_public_bytes(key[1:]), key[:1] == b"\4"


def signers(note: str, keys: list[Key]) -> dict[str, int | None]:
    """The names of those keys that have signed a note, of witnesses with the time. None may be claimed falsely."""
    text, _, signatures = note.rpartition("\n\n")
    found: dict[str, int | None] = {}
    for line in signatures.splitlines():
        _, signer, encoded = line.split(" ")
        signature, moment, message = base64.b64decode(encoded), None, f"{text}\n"
        for name, key_id, key, is_witness in keys:
            if (signer, signature[:4]) != (name, key_id):
                continue
            value = signature[4:]
            if is_witness:  # the time, eight bytes, is signed with the text
                moment, value = int.from_bytes(value[:8], "big"), value[8:]
                message = f"cosignature/v1\ntime {moment}\n{message}"
            try:
                key.verify(value, message.encode())
            except InvalidSignature:
                raise Wrong(f"The signature of {name} ({key_id.hex()}) is not valid.") from None
            found[name] = moment
    return found


def open_checkpoint(note: str, keys: list[Key]) -> Checkpoint:
    """A checkpoint that at least one of the keys has signed, and not as a witness only."""
    found = signers(note, keys)
    if not found:
        raise Wrong("None of the given keys has signed the note.")
    if all(moment is not None for moment in found.values()):
        raise Wrong("Only witnesses have signed the checkpoint, and not the log.")
    origin, size, root, *others = note.rpartition("\n\n")[0].split("\n")
    return Checkpoint(origin, int(size), root, [line for line in others if line.startswith("orders ")])


def check_witness(witness: Key, notes: dict[str, str], wrong: list[str]) -> str | None:
    """Up to where a witness vouches for the log; it is wrong if it does not."""
    vouched: list[tuple[int, int]] = []
    for name, note in notes.items():
        try:
            moment = signers(note, [witness]).get(witness[0])
            if moment is not None:
                vouched.append((int(note.split("\n")[1]), moment))
        except (Wrong, ValueError) as error:
            wrong.append(f"{name}: {error}")
    if not vouched:
        wrong.append(f"{witness[0]} has cosigned none of the checkpoints")
        return None
    size, moment = max(vouched)
    return f"{witness[0]} has cosigned {size} events at {datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


# (3) The orders that were served ------------------------------------------------------------------------------------

EVERY = int.from_bytes(b"\1\0\0\0" * 1024, "little")  # 1,024 numbers at once, in one integer with 32 bits for each


class Sums:
    """A hash of all orders that is kept up as they change (LtHash, https://eprint.iacr.org/2019/227).

    The line of an order is stretched to 1,024 numbers of 16 bits, and these are summed up over all orders.
    """

    def __init__(self) -> None:
        self.sums = 0

    def change(self, line: str, *, gone: bool = False) -> None:
        """Adds the line of an order, or takes it away again."""
        numbers, spread = shake_128(line.encode()).digest(2048), bytearray(4096)
        spread[0::4], spread[1::4] = numbers[0::2], numbers[1::2]
        number = int.from_bytes(spread, "little")
        self.sums = self.sums + (0x10000 * EVERY - number if gone else number) & 0xFFFF * EVERY

    def hash(self) -> str:
        """SHA-256 of the sums, as base64."""
        spread, sums = self.sums.to_bytes(4096, "little"), bytearray(2048)
        sums[0::2], sums[1::2] = spread[0::4], spread[1::4]
        return base64.b64encode(sha256(sums).digest()).decode()


# (4) The rules of orders ------------------------------------------------------------------------------------------

CLOSED = {"completed", "cancelled", "declined"}
MOVES = {
    "pending": {"awaiting_payment", "payment_failed", "order_paid"} | CLOSED,
    "awaiting_payment": {"payment_failed", "order_paid"} | CLOSED,
    "payment_failed": {"awaiting_payment", "order_paid"} | CLOSED,
    "order_paid": {"shipped", "completed", "cancelled"},
    "shipped": {"completed"},
    "completed": set(),
    "cancelled": set(),
    "declined": set(),
}
PHASES = ("requires_action", "processing", "authorized", "failed", "canceled", "received")
FINAL = ("canceled", "received")
REFUNDS = {"succeeded": 1, "failed": 2, "canceled": 2}
DISPUTES = {"warning_closed": 1, "prevented": 1, "charge_refunded": 1, "lost": 2, "won": 3}


class Order:
    """An order as its events leave it."""

    __slots__ = ("amount", "currency", "document", "id", "intent", "payment", "status", "version")

    def __init__(self, body: Json, document: str) -> None:
        self.id, self.status, self.version = body["order_id"], "pending", 1
        self.amount, self.currency = body["amount_in_cents"], sys.intern(body["currency"])
        self.intent = body["payment_intent_id"]
        self.document = sha256(document.encode()).digest()
        self.payment: Payment | None = None

    def line(self) -> str:
        """What the digests of all orders are made of."""
        return f"{self.id} {self.status} {self.version} {self.document.hex()}\n"


class Payment:
    """What an order's payment comes to. Notices come in any order: of each thing, what is latest or largest counts."""

    __slots__ = ("anomalies", "disputes", "phase", "received", "records", "refunded_at_once", "refunds")

    def __init__(self) -> None:
        self.phase: tuple[int, str, int] = (0, "", 0)
        self.received = self.refunded_at_once = self.records = 0
        self.refunds: dict[str, tuple[int, str, int]] = {}
        self.disputes: dict[str, tuple[int, str, int]] = {}
        self.anomalies: frozenset[tuple[str, ...]] = frozenset()

    def record(self, body: Json, order: Order) -> None:
        """Takes one PaymentRecorded. An anomaly is no phase; what it tells of the order's own intent counts."""
        self.records += 1
        kind, amount = body["kind"], body["amount_in_cents"]
        reference, status = str(body["reference"]), str(body["detail"])
        if body["anomaly"] is not None:
            of = (body["payment_intent_id"], str(amount), body["currency"])
            self.anomalies |= {(kind, *of, body["reference"] or "")}
            if body["payment_intent_id"] != order.intent:
                return
            amount = amount if body["currency"] == order.currency else 0  # what it comes to is not known
        elif kind in PHASES:
            rank = PHASES.index(kind) + 1
            self.phase = max(self.phase, (rank, "", rank) if kind in FINAL else (0, body["occurred_at"], rank))
        if kind == "received":
            self.received = max(self.received, amount)
        elif kind == "refunded":
            self.refunded_at_once = max(self.refunded_at_once, amount)
        elif kind == "refund":
            told = (REFUNDS.get(status, 0), status, amount)
            self.refunds[reference] = max(self.refunds.get(reference, told), told)
        elif kind == "dispute":
            decided = (DISPUTES.get(status, 0), status, amount)
            self.disputes[reference] = max(self.disputes.get(reference, decided), decided)

    def totals(self) -> Json:
        """What the event has to say it comes to. A refund that failed did not go back."""
        refunds = self.refunds.values()
        undone = sum(amount for _, status, amount in refunds if status in ("failed", "canceled"))
        refunded = max(self.refunded_at_once, sum(amount for _, _, amount in refunds)) - undone
        statuses = [status for _, status, _ in self.disputes.values()]
        return {
            "records": self.records,
            "phase": PHASES[self.phase[2] - 1] if self.phase[2] else None,
            "received_in_cents": self.received,
            "refunded_in_cents": refunded,
            "open_disputes": sum(status not in DISPUTES for status in statuses),
            "lost_disputes": statuses.count("lost"),
            "lost_in_cents": sum(amount for _, status, amount in self.disputes.values() if status == "lost"),
            "anomalies": len(self.anomalies),
        }


class Orders:
    """Replays every order, and says what is wrong with an event. ``changed`` are those that ``sums`` lacks."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.sums = Sums()
        self.changed: set[Order] = set()

    def add(self, stream: str, version: int, type: str, body: Json) -> Iterator[str]:
        """What is wrong with this event, a phrase each."""
        order = self.orders.get(stream)
        if type == "OrderCreated":
            yield from self.created(stream, version, body)
        elif type == "LeadStatusesArranged":
            if stream != f"leads-{body['user_id']}":
                yield f"the board of user {body['user_id']} is not kept here"
            if sorted(body["arrangement"]) != [1, 2, 3, 4]:
                yield "it does not arrange every lead status once"
        elif type not in ("StatusChanged", "PaymentRecorded"):
            yield f"there is no event type {type!r}"
        elif order is None:
            yield "there is no such order yet"
        else:
            if order not in self.changed:
                self.sums.change(order.line(), gone=True)
                self.changed.add(order)
            order.version = version
            yield from self.moved(order, body) if type == "StatusChanged" else self.paid(order, body)

    def created(self, stream: str, version: int, body: Json) -> Iterator[str]:
        """An order begins: the lines come to its amount."""
        if stream != f"order-{body['order_id']}" or version != 1 or stream in self.orders:
            yield f"order {body['order_id']} is not created here"
        amount = sum(line["quantity"] * line["price_in_cents"] for line in body["lines"])
        if amount != body["amount_in_cents"]:
            yield f"the amount is {body['amount_in_cents']}, the lines come to {amount}"
        if body["actor"]["user"] != body["user_id"]:
            yield "an order belongs to the user who places it"
        names = {"id": "product_id", "name": "name", "quantity": "quantity", "priceInCents": "price_in_cents"}
        served = {
            "id": body["order_id"],
            "userId": body["user_id"],
            "date": body["timestamp"],
            "products": [{name: line[member] for name, member in names.items()} for line in body["lines"]],
            "amountInCents": amount,
        }
        document = json.dumps(served, ensure_ascii=False, separators=(",", ":"))[:-1]
        former = self.orders.get(stream)
        if former is not None and former not in self.changed:
            self.sums.change(former.line(), gone=True)
        self.changed.discard(former)
        self.orders[stream] = order = Order(body, document)
        self.changed.add(order)

    def moved(self, order: Order, body: Json) -> Iterator[str]:
        """An order moves: from the status that it has, and as the table of moves has it."""
        before, after = order.status, body["status"]
        order.status = after
        if body["previous"] != before:
            yield f"it moves from {body['previous']}, and the order is {before}"
        elif after not in MOVES.get(before, ()):
            yield f"no order may move from {before} to {after}"

    def paid(self, order: Order, body: Json) -> Iterator[str]:
        """Something happened to a payment: it fits the order or is called an anomaly, and the totals add up."""
        amount, ours = body["amount_in_cents"], body["payment_intent_id"] == order.intent
        fits = amount == order.amount if body["kind"] in PHASES else amount <= order.amount
        order.payment = order.payment or Payment()
        order.payment.record(body, order)
        if body["anomaly"] is None and not (ours and fits and body["currency"] == order.currency):
            yield "it does not fit the order and is not noted as an anomaly"
        if body["order_status"] != order.status:
            yield f"it says that the order is {body['order_status']}, which is {order.status}"
        told, totals = body["totals"], order.payment.totals()
        if "class_version" not in body:  # version 1 did not count what disputes took, nor those of anomalies so
            told = {**told, "lost_in_cents": totals["lost_in_cents"]}
            if order.payment.anomalies:
                told |= {name: totals[name] for name in ("open_disputes", "lost_disputes")}
        if told != totals:
            wrong = [name for name, value in totals.items() if told.get(name) != value]
            yield f"the payment's totals don't add up: {', '.join(wrong) or 'too many'}"

    def served(self) -> str:
        """What a checkpoint has to say of the orders as they are now."""
        for order in self.changed:
            self.sums.change(order.line())
        self.changed.clear()
        return f"orders {len(self.orders)} {self.sums.hash()}"

    def state(self) -> str:
        """The digest of all orders: a line for each, by rising id."""
        digest = sha256()
        for order in sorted(self.orders.values(), key=lambda order: order.id):
            digest.update(order.line().encode())
        return digest.hexdigest()


# (5) The audit ----------------------------------------------------------------------------------------------------


MEMBERS = ["position", "stream", "version", "type", "body", "recordedAt"]


class Audit:
    """Takes the lines of the file one by one."""

    def __init__(self, checkpoints: list[Checkpoint]) -> None:
        self.due: dict[int, list[Checkpoint]] = {}
        for checkpoint in checkpoints:
            self.due.setdefault(checkpoint.size, []).append(checkpoint)
        self.tree, self.orders = Tree(), Orders()
        self.position = self.proven = 0
        self.versions: dict[str, int] = {}
        self.disproven: list[int] = []

    def add(self, line: str) -> Iterator[str]:
        """What is wrong with this line."""
        event = json.loads(line)
        if list(event) != MEMBERS:
            raise Wrong(f"The line is not an object of {', '.join(MEMBERS)}, in this order.")
        position, stream, version, type, body, moment = event.values()
        if not (isinstance(position, int) and isinstance(version, int) and position > 0 and version > 0):
            raise Wrong("Its position or version is not a number from 1.")
        if not body.startswith(f'{{"timestamp":"{moment}"'):
            raise Wrong("Its recordedAt is not the timestamp of its body.")
        self.tree.append(f"{position}\n{stream}\n{version}\n{type}\n{body}".encode())
        yield from self.place(position, stream, version, type)
        at = f"position {position} ({stream} version {version})"
        try:
            yield from (f"{at}: {fault}" for fault in self.orders.add(stream, version, type, json.loads(body)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            yield f"{at}: its body can't be read: {error.__class__.__name__} {error}"
        yield from self.compare()

    def place(self, position: int, stream: str, version: int, type: str) -> Iterator[str]:
        """Positions are 1, 2, 3 and so on without a gap, and so are the versions of each stream."""
        expected, self.position = self.position + 1, position
        next_version, self.versions[stream] = self.versions.get(stream, 0) + 1, version
        if position > expected:
            missing = str(expected) if position == expected + 1 else f"{expected} to {position - 1}"
            yield f"position {missing}: missing; {position} follows on {expected - 1}"
        if position < expected:
            yield f"position {position}: stands behind position {expected - 1}"
        if version != next_version:
            yield f"position {position}: version {version} of {stream}, where version {next_version} comes next"
        if "\n" in stream + type:
            yield f"position {position}: a line feed in the name of its stream or type"

    def compare(self) -> Iterator[str]:
        """The root over the events so far, if there is a checkpoint of so many."""
        size = self.tree.size
        for checkpoint in self.due.pop(size, ()):
            if checkpoint.root == self.tree.root():
                self.proven = size
                if any(line != self.orders.served() for line in checkpoint.orders):
                    yield f"checkpoint of {size}: the orders that were served then are not those that the log comes to"
                continue
            self.disproven.append(size)
            places = f"between positions {self.proven + 1} and {size}" if size > self.proven else f"up to {size}"
            yield f"checkpoint of {size}: its root is another: an event was changed, added or removed {places}"

    def finish(self) -> Iterator[str]:
        """What is wrong with the log as a whole."""
        for size in sorted(self.due):
            yield f"the log ends at {self.tree.size}, and a checkpoint of {size} was signed: events are missing"
        for size in self.disproven:
            if size <= self.proven:
                both = f"the checkpoints of {size} and {self.proven} were both signed, and are of two logs"
                yield f"the log was forked: {both}"


def read_checkpoints(notes: dict[str, str], keys: list[Key], wrong: list[str]) -> Iterator[Checkpoint]:
    """The checkpoints that a key has signed, all of one log."""
    origin = None
    for path, note in notes.items():
        try:
            checkpoint = open_checkpoint(note, keys)
        except (Wrong, ValueError) as error:
            wrong.append(f"{path}: {error}")
            continue
        origin = origin or checkpoint.origin
        if checkpoint.origin != origin:
            wrong.append(f"{path}: The checkpoint is of {checkpoint.origin}, not of {origin}.")
            continue
        yield checkpoint


def verifier_key(text: str) -> Key:
    """A verifier key, as a text or as a file that has nothing else. Raises ArgumentTypeError."""
    try:
        path = Path(text)
        return parse_key(path.read_text(encoding="utf-8").strip() if path.is_file() else text)
    except (OSError, ValueError) as error:
        message = f"{text[:100]!r} is neither a verifier key (NAME+ID+KEY) nor a file of one"
        raise argparse.ArgumentTypeError(message) from error


def main() -> int:
    """Verifies the file that the command line names."""
    parser = argparse.ArgumentParser(description="Verifies an exported order log.")
    parser.add_argument("file", type=Path, help="the exported log, JSON lines, compressed if it ends in .gz")
    what = "a verifier key of the log, or a file of it"
    parser.add_argument("--key", action="append", required=True, type=verifier_key, help=what)
    parser.add_argument("--witness", action="append", default=[], type=verifier_key, help="who has to have cosigned")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, help="a checkpoint kept from before")
    given = parser.parse_args()
    beside = given.file.with_name(f"{given.file.name}.checkpoint")
    paths = [*given.checkpoint, *([beside] if beside.exists() else [])]
    wrong: list[str] = []
    notes = {str(path): path.read_text(encoding="utf-8") for path in paths}
    notices = [check_witness(witness, notes, wrong) for witness in given.witness]
    audit = Audit(list(read_checkpoints(notes, given.key, wrong)))
    wrong.extend(audit.compare())
    opened = gzip.open if given.file.suffix == ".gz" else open
    with opened(given.file, "rt", encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            try:
                wrong.extend(audit.add(line))
            except (Wrong, ValueError, AttributeError) as error:
                wrong.append(f"line {number}: {error}")
    wrong.extend(audit.finish())
    if not paths:
        wrong.append(f"there is no checkpoint {beside}: nothing is signed")
    for fault in wrong:
        print(f"wrong: {fault}")
    for notice in filter(None, notices):
        print(f"note: {notice}")
    size, covered = audit.tree.size, max(audit.proven, *audit.disproven, 0)
    if size > covered:
        print(f"note: events {covered + 1} to {size} are in no checkpoint: nothing proves them")
    print(
        f"events: {size}\nroot: {audit.tree.root()}\norders: {len(audit.orders.orders)}, state {audit.orders.state()}"
    )
    print("not sound" if wrong else "sound")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
