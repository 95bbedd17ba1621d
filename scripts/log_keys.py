"""``keygen``, and the keys that sign the transparency log's checkpoints."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from ledger.errors import MalformedProof, SettingsError
from ledger.settings import Settings
from ledger.transparency.keys import COSIGNATURE, ED25519, SignerKey, VerifierKey, check_name
from scripts.context import Session, pass_session
from scripts.files import whole_file
from scripts.secret import read_private

_PRIVATE = "PRIVATE+KEY+"


@click.command("keygen")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the key, such as log.example/orders (LEDGER_LOG_ORIGIN).")
@click.option("--witness", is_flag=True, help="Make a witness's key, which cosigns checkpoints of other logs.")
@pass_session
def keygen(session: Session, file: Path, name: str | None, witness: bool) -> None:
    """Make a signer key of the transparency log in FILE, for its owner only; prints its verifier key, for everybody."""
    name = name or (None if witness else session.settings.log_origin)
    if name is None:
        raise click.UsageError("Say whose key it is with --name, or set LEDGER_LOG_ORIGIN.")
    if file.exists() or file.is_symlink():
        raise click.UsageError(f"{file} is there already; a key is never written over.")
    try:
        key = SignerKey.generate(name, secrets.token_bytes, COSIGNATURE if witness else ED25519)
    except MalformedProof as error:
        raise click.UsageError(str(error)) from error
    with whole_file(file) as target:
        target.write(f"{key.secret_text}\n".encode())
    click.echo(str(key.verifier))


def log_signers(settings: Settings) -> list[SignerKey]:
    """The keys of LEDGER_LOG_KEY; raises SettingsError when one can't be used."""
    return [_signer(key) for key in settings.log_keys]


def with_log_keys(settings: Settings) -> Settings:
    """The settings with the texts of the keys in place of the files that have them; raises SettingsError."""
    return replace(settings, log_keys=tuple(key.secret_text for key in log_signers(settings)))


def log_origin(settings: Settings, signers: Sequence[SignerKey]) -> str:
    """The origin of checkpoints: as configured, or the first key's name; raises SettingsError for one that is none."""
    origin = settings.log_origin or (signers[0].name if signers else "")
    try:
        if origin:
            check_name(origin)
    except MalformedProof as error:
        raise SettingsError(f"LEDGER_LOG_ORIGIN: {error}") from error
    return origin


def log_witnesses(settings: Settings) -> list[VerifierKey]:
    """The keys of LEDGER_WITNESSES; raises SettingsError when one is no witness's."""
    try:
        keys = [key for text in settings.witnesses for key in verifier_keys(text)]
    except (MalformedProof, OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"LEDGER_WITNESSES: {error}") from error
    if any(key.algorithm != COSIGNATURE for key in keys):
        raise SettingsError("LEDGER_WITNESSES: a key is not a witness's, as `keygen --witness` makes them")
    return keys


def verifier_keys(text: str) -> list[VerifierKey]:
    """The key that is the text, or those in that file. Raises MalformedProof, OSError, UnicodeDecodeError."""
    lines = Path(text).read_text(encoding="utf-8").split() if Path(text).is_file() else [text]
    return [VerifierKey.parse(line) for line in lines]


def read_signer(file: Path) -> SignerKey:
    """The signer key in a file; raises SettingsError when others can read it, MalformedProof and OSError."""
    return SignerKey.parse(read_private(file))


def _signer(key: str) -> SignerKey:
    try:
        signer = SignerKey.parse(key) if key.startswith(_PRIVATE) else read_signer(Path(key))
    except MalformedProof as error:
        raise SettingsError(f"LEDGER_LOG_KEY: {error}") from error
    except OSError as error:
        # It is not repeated: it may be a key that was mangled, and no path at all.
        raise SettingsError(f"LEDGER_LOG_KEY: the file that it names can't be read: {error.strerror}") from error
    if signer.verifier.algorithm != ED25519:
        raise SettingsError("LEDGER_LOG_KEY: this is a witness's key, which can't sign as the log")
    return signer
