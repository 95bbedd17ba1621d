"""The transparency log over HTTP: what is served leads to the signed root, with the project's own verification."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from ledger.transparency.keys import SignerKey, decode_base64
from ledger.transparency.merkle import HASH_SIZE, CompactRange, leaf_hash, verify_consistency
from ledger.transparency.proofs import LogProof
from ledger.transparency.tiles import TILE_WIDTH, decode_bundle
from projections.transparency import Follower
from tests.support.storages import TickingClock

ORIGIN = "ledger.example/log"
KEY = SignerKey.generate(ORIGIN, lambda size: bytes(range(size)))
CART = ["1"]


@dataclass
class Log:
    """The log of an API in memory, and its follower."""

    client: Any
    follower: Follower
    buyer: dict[str, str]
    auditor: dict[str, str]

    def grow(self, orders: int) -> None:
        """So many orders more, and a checkpoint that has them."""
        for _ in range(orders):
            assert self.client.post("/orders/new", headers=self.buyer, json=CART).status_code == 201
        while self.follower.step():
            pass

    def checkpoint(self) -> Checkpoint:
        """The latest one, verified."""
        answer = self.client.get("/log/checkpoint", headers=self.auditor)
        assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
        return open_checkpoint(answer.data, [KEY.verifier], origin=ORIGIN)

    def tile(self, path: str) -> Any:
        """The answer for a tile."""
        return self.client.get(f"/log/tile/{path}", headers=self.auditor)


@pytest.fixture
def log(client: Any, runtime: Any, tokens: Any) -> Log:
    follower = Follower(runtime.database, [KEY], ORIGIN, clock=TickingClock())
    return Log(client, follower, tokens.headers(1), tokens.headers(92, role="auditor"))


def width(path: str, count: int) -> str:
    return path if count == TILE_WIDTH else f"{path}.p/{count}"


def test_the_root_follows_from_the_entries_and_from_the_tiles(log: Log) -> None:
    log.grow(300)
    checkpoint = log.checkpoint()
    assert checkpoint.size == 300
    leaves, entries = CompactRange(), CompactRange()
    for tile, count in (("000", 256), ("001", 44)):
        hashes = log.tile(width(f"0/{tile}", count)).data
        leaves.extend([hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)])
        bundle = decode_bundle(log.tile(width(f"entries/{tile}", count)).data)
        assert len(bundle) == count
        entries.extend([leaf_hash(entry) for entry in bundle])
    assert leaves.root() == entries.root() == checkpoint.root
    assert len(log.tile("1/000.p/1").data) == HASH_SIZE
    answer = log.tile("0/000")
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    log.grow(1)
    assert log.tile("0/001.p/44").data == log.tile("0/001.p/45").data[: 44 * HASH_SIZE]


@pytest.mark.parametrize(
    "path",
    ["0/001", "0/000.p/4", "0/000", "1/000.p/1", "entries/000.p/4", "0/0", "0/000.p/0", "x", "64/000", "0/000.p/3/"],
)
def test_tiles_that_are_not_there(log: Log, path: str) -> None:
    log.grow(3)
    answer = log.tile(path)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-tile")
    assert log.tile("0/000.p/3").status_code == 200


@pytest.mark.parametrize("change", ["UPDATE events SET body = 'x'", "DELETE FROM events"])
def test_an_altered_order_has_its_proofs(log: Log, runtime: Any, change: str) -> None:
    """They show that what is there now is not what was signed, or that the rest is."""
    log.grow(1)
    cancel = {"orderId": 1, "status": "CANCELLED"}
    assert log.client.post("/orders/status-update", headers=log.buyer, json=cancel).status_code == 200
    log.grow(1)
    with runtime.database.write() as cursor:
        cursor.execute(f"{change} WHERE position = 1")
    answer = log.client.get("/orders/1/proof", headers=log.auditor)
    assert answer.status_code == 200
    assert [event["version"] for event in answer.json][-1] == 2
    assert log.client.get("/orders/1/proof", headers=log.buyer).status_code == 404


def test_every_event_of_an_order_is_proven(log: Log) -> None:
    log.grow(5)
    body = {"orderId": 3, "status": "cancelled"}
    assert log.client.post("/orders/status-update", headers=log.buyer, json=body).status_code == 200
    created, cancelled = log.client.get("/orders/3/proof", headers=log.buyer).json
    assert (cancelled["position"], cancelled["version"], cancelled["proof"]) == (6, 2, None)
    unproven = log.client.get("/orders/3/proof?version=2", headers=log.buyer)
    assert (unproven.status_code, unproven.json["type"]) == (404, "/problems/not-proven-yet")
    log.grow(0)
    for event in log.client.get("/orders/3/proof", headers=log.buyer).json:
        leaf = leaf_hash(event["leaf"].encode())
        assert LogProof.parse(event["proof"].encode()).verify(leaf, [KEY.verifier]).size == 6
        alone = log.client.get(f"/orders/3/proof?version={event['version']}", headers=log.buyer)
        assert (alone.content_type, alone.text) == ("text/plain; charset=utf-8", event["proof"])
    head, _, stored = created["leaf"].rpartition("\n")
    assert head == "3\norder-3\n1\nOrderCreated"
    assert json.loads(stored)["order_id"] == 3


def test_who_sees_the_proof_of_an_order(log: Log, tokens: Any) -> None:
    log.grow(1)
    assert log.client.get("/orders/1/proof", headers=log.auditor).status_code == 200
    for order_id, headers in ((1, tokens.headers(2)), (9, log.auditor)):
        answer = log.client.get(f"/orders/{order_id}/proof", headers=headers)
        assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-order")
    answer = log.client.get("/orders/1/proof?version=2", headers=log.buyer)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-version")


def test_a_later_log_begins_with_an_earlier_one(log: Log) -> None:
    log.grow(3)
    old = log.checkpoint()
    log.grow(8)
    new = log.checkpoint()
    answer = log.client.get(f"/audit/consistency?from={old.size}", headers=log.auditor)
    assert (answer.json["from"], answer.json["to"]) == (3, 11)
    hashes = [decode_base64(each) for each in answer.json["hashes"]]
    verify_consistency(old.size, new.size, hashes, old.root, new.root)
    assert log.client.get("/audit/consistency?from=4&to=4", headers=log.auditor).json["hashes"] == []


@pytest.mark.parametrize("query", ["from=4&to=3", "from=1&to=6", "from=9"])
def test_sizes_that_the_tree_does_not_have(log: Log, query: str) -> None:
    log.grow(5)
    answer = log.client.get(f"/audit/consistency?{query}", headers=log.auditor)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-such-position")


def test_before_the_first_checkpoint(log: Log) -> None:
    answer = log.client.get("/log/checkpoint", headers=log.auditor)
    assert (answer.status_code, answer.json["type"]) == (404, "/problems/no-checkpoint")
    assert log.client.get("/audit/consistency", headers=log.auditor).status_code == 404


PATHS = ("/log/checkpoint", "/log/tile/0/000.p/1", "/log/tile/entries/000.p/1", "/audit/consistency?from=1")


@pytest.mark.parametrize("path", PATHS)
def test_it_is_for_auditors_and_admins(log: Log, tokens: Any, path: str) -> None:
    log.grow(1)
    assert log.client.get(path).status_code == 401
    assert log.client.get(path, headers=tokens.headers(2, role="staff")).status_code == 403
    assert log.client.get(path, headers=tokens.headers(2, role="admin")).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_it_is_for_everybody_where_the_log_is_public(log: Log, make_app: Any, path: str) -> None:
    log.grow(1)
    answer = make_app(public_log=True).test_client().get(path)
    assert answer.status_code == 200
    if "tile" in path:
        assert answer.headers["Cache-Control"].startswith("public")
