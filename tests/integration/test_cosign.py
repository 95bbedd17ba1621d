"""``cosign``: a witness that asks a served log, or answers requests, and what becomes of its word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from ledger.transparency.keys import COSIGNATURE, SignerKey, VerifierKey
from ledger.transparency.merkle import CompactRange, consistency_proof, leaf_hash
from ledger.transparency.notes import Note
from ledger.transparency.witness import CosignRequest
from scripts import cli
from tests.integration.test_verify import Audited, audited
from tests.integration.test_verify_export import alone
from tests.support.busy import log_key
from tests.support.server import Server, bearer, problem, token

LOG = log_key()
STRANGER = log_key(seed=7)


class Witness:
    """A witness with its key and what it remembers."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state.json"
        self.key = VerifierKey.parse(
            self.run("keygen", home / "witness.key", "--name", "w.example/1", "--witness").stdout[:-1]
        )

    def run(self, *arguments: object, code: int = 0, stdin: bytes | None = None) -> Result:
        given = [str(argument) for argument in arguments]
        result = CliRunner().invoke(cli.main, given, input=stdin, prog_name="order-ledger")
        assert result.exit_code == code, result.output
        return result

    def cosign(self, *arguments: object, code: int = 0, stdin: bytes | None = None, log: Any = LOG.verifier) -> Result:
        options = ("--key", self.home / "witness.key", "--state", self.state, "--log", log)
        return self.run("cosign", *options, *arguments, code=code, stdin=stdin)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path)


class Tree:
    """A log of nothing in particular, and requests to cosign it."""

    def __init__(self, *data: bytes) -> None:
        self.leaves = [leaf_hash(each) for each in data]

    def root(self, size: int) -> bytes:
        compact = CompactRange()
        compact.extend(self.leaves[:size])
        return compact.root()

    def node(self, level: int, index: int) -> bytes:
        compact = CompactRange()
        compact.extend(self.leaves[index << level : (index + 1) << level])
        return compact.root()

    def request(self, old: int, size: int, key: SignerKey = LOG, origin: str = LOG.name) -> bytes:
        note = Checkpoint(origin, size, self.root(size)).signed([key])
        return str(CosignRequest(old, tuple(consistency_proof(self.node, old, size)), str(note).encode())).encode()


TREE = Tree(*(b"%d" % number for number in range(40)))
FORK = Tree(*(b"%d" % number for number in range(39)), b"another")


def test_what_continues_is_cosigned_and_nothing_else(witness: Witness) -> None:
    for old, size in ((0, 3), (3, 3), (3, 17), (17, 39)):
        line = witness.cosign("-", stdin=TREE.request(old, size)).stdout
        note = Note.parse(TREE.request(old, size).partition(b"\n\n")[2] + line.encode())
        assert [key.name for key in note.verified([witness.key, LOG.verifier])] == ["w.example/1", LOG.name]
    assert json.loads(witness.state.read_text())[LOG.name]["size"] == 39

    for request, told in (
        (TREE.request(3, 40), "has cosigned a checkpoint of 39 last"),
        (TREE.request(0, 40), "has cosigned a checkpoint of 39 last"),
        (FORK.request(39, 40).replace(b"old 39", b"old 0"), "has cosigned a checkpoint of 39 last"),
        (TREE.request(39, 40, STRANGER), "None of the given keys has signed"),
        (TREE.request(39, 40)[:40], "not an old size"),
        (b"", "not an old size"),
    ):
        assert told in witness.cosign("-", stdin=request, code=1).stderr
    assert json.loads(witness.state.read_text())[LOG.name]["size"] == 39


def test_a_fork_is_never_cosigned(witness: Witness) -> None:
    witness.cosign("-", stdin=TREE.request(0, 40))
    assert "it was forked" in witness.cosign("-", stdin=FORK.request(40, 40), code=1).stderr

    longer = Tree(*(b"%d" % number for number in range(39)), b"another", b"more")
    assert "not consistent" in witness.cosign("-", stdin=longer.request(40, 41), code=1).stderr
    assert (
        "larger than the checkpoint's"
        in witness.cosign("-", stdin=b"old 40\n\n" + TREE.request(30, 30)[8:], code=1).stderr
    )


def test_logs_are_told_apart_by_their_origin(witness: Witness) -> None:
    witness.cosign("-", stdin=TREE.request(0, 5))
    witness.cosign("-", stdin=FORK.request(0, 40, STRANGER, STRANGER.name + "/2"), log=STRANGER.verifier)
    assert set(json.loads(witness.state.read_text())) == {LOG.name, STRANGER.name + "/2"}


def test_of_requests_at_once_one_is_cosigned(witness: Witness) -> None:
    def ask(tree: Tree) -> int:
        options = ("--key", witness.home / "witness.key", "--state", witness.state, "--log", LOG.verifier, "-")
        return CliRunner().invoke(cli.main, ["cosign", *map(str, options)], input=tree.request(0, 40)).exit_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, (TREE, FORK))) == [0, 1]


@pytest.mark.parametrize(
    "text", ["{", "[]", json.dumps({LOG.name: {"size": 1}}), json.dumps({LOG.name: {"size": "x", "root": "x"}})]
)
def test_a_state_that_makes_no_sense_is_not_taken_for_none(witness: Witness, text: str) -> None:
    witness.state.write_text(text)
    assert "not cosigned" in witness.cosign("-", stdin=TREE.request(0, 5), code=1).stderr


def test_wrong_usage(witness: Witness, tmp_path: Path) -> None:
    assert "Name a REQUEST" in witness.cosign(code=2).stderr
    assert "--submit needs --from" in witness.cosign("-", "--submit", stdin=b"", code=2).stderr
    (tmp_path / "log.key").write_text(LOG.secret_text)
    (tmp_path / "log.key").chmod(0o600)
    told = witness.run(
        "cosign", "--key", tmp_path / "log.key", "--state", witness.state, "--log", LOG.verifier, "-", code=2
    )
    assert "a witness needs a key of its own" in told.stderr


@pytest.fixture
def served(tmp_path: Path, database_url: str, witness: Witness) -> Iterator[tuple[Server, Audited]]:
    whole = audited(tmp_path, database_url)
    server = Server(tmp_path, database_url, workers=1)
    server.start(LEDGER_LOG_KEY=LOG.secret_text, LEDGER_LOG_ORIGIN=LOG.name, LEDGER_WITNESSES=str(witness.key))
    yield server, whole
    server.stop()


def get(server: Server, path: str, role: str = "auditor") -> requests.Response:
    return requests.get(f"{server.url}{path}", headers=bearer(92, role), timeout=30)


def test_a_witness_of_a_served_log(served: tuple[Server, Audited], witness: Witness, tmp_path: Path) -> None:
    server, whole = served
    tokens = tmp_path / "token"
    tokens.write_text(token(92, "auditor"))
    ask = ("--from", f"{server.url}/log", "--token-file", tokens)
    assert problem(get(server, "/log/checkpoint/cosigned"))["type"] == "/problems/no-checkpoint"

    printed = witness.cosign(*ask, "--submit").stdout
    cosigned = get(server, "/log/checkpoint/cosigned").text
    assert cosigned == printed == get(server, "/log/checkpoint").text
    assert open_checkpoint(cosigned.encode(), [LOG.verifier, witness.key]).size > 0
    kept = tmp_path / "cosigned"
    kept.write_text(cosigned)

    whole.ledger.run("seed", "--orders", "300")
    whole.ledger.run("follow", "--once")
    whole.ledger.run("export", whole.file)
    assert get(server, "/log/checkpoint/cosigned").text == cosigned
    told = whole.verify_file("--checkpoint", kept, "--witness", witness.key).stdout
    assert (
        f"note: w.example/1 has cosigned {open_checkpoint(kept.read_bytes(), [LOG.verifier]).size} events at 20" in told
    )
    assert told == alone(whole.file, "--checkpoint", kept, "--witness", str(witness.key))
    assert "has cosigned" in whole.verify("--witness", witness.key).stdout
    assert "w.example/1 has cosigned none" in whole.verify_file("--witness", witness.key, code=1).stdout

    later = witness.cosign(*ask).stdout
    assert Checkpoint.parse(Note.parse(later.encode()).text).size > 300
    assert get(server, "/log/checkpoint/cosigned").text == cosigned  # it was not brought


def test_words_that_are_not_kept(served: tuple[Server, Audited], witness: Witness) -> None:
    server, _ = served
    note = get(server, "/log/checkpoint").text
    other = SignerKey.generate("w.example/2", bytes, COSIGNATURE)
    good = witness.cosign("-", stdin=b"old 0\n\n" + note.encode()).stdout
    signed = f"{note}{good}"
    body = Note.parse(signed.encode())
    text = body.text.replace(LOG.name, "another.example")

    for sent in (
        note,
        f"{note}{good[:-6]}AAAA=\n",
        "nonsense",
        str(Note(text, body.signatures)),
        f"{note}{other.sign(body.text, 1).line}",
    ):
        answer = requests.post(
            f"{server.url}/log/cosignatures", json={"checkpoint": sent}, headers=bearer(92, "auditor"), timeout=30
        )
        assert problem(answer)["type"] == "/problems/invalid-cosignature", sent
    assert problem(answer)["detail"] == "No witness that LEDGER_WITNESSES names has signed it."
    post = f"{server.url}/log/cosignatures"
    assert requests.post(post, json={"checkpoint": signed}, headers=bearer(1), timeout=30).status_code == 403
    assert requests.post(post, json={"checkpoint": signed}, timeout=30).status_code == 401
    assert problem(get(server, "/log/checkpoint/cosigned"))["type"] == "/problems/no-checkpoint"
    for _ in range(2):
        answer = requests.post(post, json={"checkpoint": signed}, headers=bearer(92, "auditor"), timeout=30)
        assert answer.status_code == 200
    assert get(server, "/log/checkpoint").text == signed


def test_a_log_that_shows_less_than_before_is_refused(
    served: tuple[Server, Audited], witness: Witness, tmp_path: Path
) -> None:
    server, _ = served
    (tmp_path / "token").write_text(token(92, "auditor"))
    witness.state.write_text(
        json.dumps({LOG.name: {"size": 99, "root": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}})
    )
    ask = ("--from", f"{server.url}/log", "--token-file", tmp_path / "token")
    assert "and has shown 99 before" in witness.cosign(*ask, code=1).stderr
    assert "answers 401" in witness.cosign("--from", f"{server.url}/log", code=1).stderr
    server.stop()
    assert "can't be reached" in witness.cosign(*ask, code=1).stderr
