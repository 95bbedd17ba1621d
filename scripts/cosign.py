"""``cosign``: a small witness of another ledger's transparency log."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ledger.errors import LedgerError, MalformedProof, NotProven
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from ledger.transparency.keys import COSIGNATURE, Signature, SignerKey, VerifierKey, decode_base64, encode_base64
from ledger.transparency.witness import CosignRequest, Seen
from ledger.transparency.witness import cosign as cosigned
from scripts.files import whole_file
from scripts.log_keys import read_signer
from scripts.verify import verifier_keys_option

if TYPE_CHECKING:
    from scripts.log_client import LogClient

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OWNER_ONLY = 0o600


class State:
    """What the witness has cosigned last of each log, in a file; it is locked, and on disk before a signature is."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else may look or write meanwhile: two requests must not be checked against one size."""
        descriptor = os.open(self._file.with_name(f"{self._file.name}.lock"), os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def seen(self, origin: str) -> Seen:
        """What was cosigned last of this log. Raises MalformedProof for a file that makes no sense."""
        found = self._read().get(origin)
        if found is None:
            return Seen()
        try:
            return Seen(int(found["size"]), decode_base64(found["root"]))
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedProof(f"{self._file} does not say what was cosigned last of {origin}.") from error

    def save(self, origin: str, seen: Seen) -> None:
        """Keeps it."""
        logs = self._read() | {origin: {"size": seen.size, "root": encode_base64(seen.root)}}
        with whole_file(self._file) as target:
            target.write(f"{json.dumps(logs, indent=2)}\n".encode())

    def _read(self) -> dict[str, dict[str, str]]:
        if not self._file.exists():
            return {}
        try:
            logs = json.loads(self._file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise MalformedProof(f"{self._file} is not what a witness has written.") from error
        if not isinstance(logs, dict):
            raise MalformedProof(f"{self._file} is not what a witness has written.")
        return logs


@click.command("cosign")
@click.argument("request", type=click.File("rb"), required=False)
@click.option("--key", "key_file", type=_FILE, required=True, help="The witness's key, as keygen --witness makes one.")
@click.option(
    "--log",
    "logs",
    callback=verifier_keys_option,
    multiple=True,
    required=True,
    metavar="KEY",
    help="The log's verifier key, or a file of them. Repeatable.",
)
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), required=True, help="What it has seen; made.")
@click.option("--from", "url", metavar="URL", help="Ask the log itself for its latest checkpoint: https://HOST/log.")
@click.option("--token-file", type=_FILE, help="A bearer token of an auditor, where the log is not public.")
@click.option("--submit", is_flag=True, help="Bring the cosignature to the log, too.")
def cosign(
    *,
    request: BinaryIO | None,
    key_file: Path,
    logs: list[VerifierKey],
    state: Path,
    url: str | None,
    token_file: Path | None,
    submit: bool,
) -> None:
    """Cosign a checkpoint if its log continues what was cosigned before; prints the checkpoint with the cosignature.

    REQUEST is the body of C2SP's add-checkpoint, `-` for stdin, and the answer is the cosignature alone. With --from
    the log is asked for its latest checkpoint and the proof, and all that is verified here.
    """
    if submit and url is None:
        raise click.UsageError("--submit needs --from URL.")
    witness = _witness(key_file)
    try:
        if request is not None and url is None:
            asked = CosignRequest.parse(request.read())
            click.echo(_cosigned(asked, logs, State(state), witness).line, nl=False)
        elif url is not None and request is None:
            # Imported only now: it takes as long to load as all else of the command line, and nobody else needs it.
            from scripts.log_client import LogClient as Client  # noqa: PLC0415

            client = Client(url, token_file.read_text(encoding="utf-8").strip() if token_file else None)
            note = _cosign_latest(client, logs, State(state), witness)
            click.echo(note, nl=False)
            if submit:
                client.submit(note)
        else:
            raise click.UsageError("Name a REQUEST, or --from URL.")
    except (MalformedProof, NotProven) as error:
        raise LedgerError(f"not cosigned: {error}") from error


def _cosigned(request: CosignRequest, logs: Sequence[VerifierKey], state: State, witness: SignerKey) -> Signature:
    origin = open_checkpoint(request.checkpoint, logs).origin
    with state.locked():
        seen, signature = cosigned(request, logs, state.seen(origin), witness, int(time.time()))
        state.save(origin, seen)
    return signature


def _cosign_latest(client: LogClient, logs: Sequence[VerifierKey], state: State, witness: SignerKey) -> str:
    data = client.checkpoint()
    checkpoint: Checkpoint = open_checkpoint(data, logs)
    seen = state.seen(checkpoint.origin)
    proof = client.consistency(seen.size, checkpoint.size)
    signature = _cosigned(CosignRequest(seen.size, tuple(proof), data), logs, state, witness)
    return f"{data.decode()}{signature.line}"


def _witness(file: Path) -> SignerKey:
    try:
        key = read_signer(file)
    except (MalformedProof, OSError) as error:
        raise click.BadParameter(f"{file} is no signer key: {error}", param_hint="--key") from error
    if key.algorithm != COSIGNATURE:
        raise click.BadParameter("a witness needs a key of its own: keygen --witness", param_hint="--key")
    return key
