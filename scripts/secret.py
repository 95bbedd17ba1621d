"""The secret of bearer tokens: the configured one, or outside production one that is made once and kept in a file."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ledger.errors import SettingsError
from ledger.settings import Settings
from ledger.settings_reader import MIN_SECRET_BYTES

SECRET_FILE = "jwt-secret"  # noqa: S105 - the name of the file, not a secret
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def with_secret(settings: Settings) -> Settings:
    """The settings with a way to verify tokens: as configured, or with the secret kept in the ledger's directory.

    Makes that secret when there is none yet. Raises SettingsError in production when nothing is configured, and when
    the kept secret can't be trusted.
    """
    found = with_kept_secret(settings)
    if found is not None:
        return found
    path = settings.var_dir / SECRET_FILE
    with _told(path):
        _create(path)
        return replace(settings, jwt_secret=_read(path))


def with_kept_secret(settings: Settings) -> Settings | None:
    """As :func:`with_secret`, but makes nothing: ``None`` where a secret would have to be made."""
    if settings.jwt_secret or settings.jwt_public_key or settings.jwt_jwks_url:
        return settings
    if settings.env == "production":
        raise SettingsError(
            "LEDGER_ENV=production needs one of LEDGER_JWT_SECRET, LEDGER_JWT_PUBLIC_KEY or LEDGER_JWT_JWKS_URL"
        )
    path = settings.var_dir / SECRET_FILE
    with _told(path):
        if not path.is_symlink() and not path.exists():
            return None
        return replace(settings, jwt_secret=_read(path))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Says in one line that the file can't be used."""
    try:
        yield
    except OSError as error:
        raise SettingsError(f"the secret of bearer tokens can't be kept in {path}: {error.strerror}") from error


def _create(path: Path) -> None:
    """Makes the file whole or not at all: of several processes that try at once, one wins and all read the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(MIN_SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first; its secret is the one
    finally:
        draft.unlink()


def read_private(path: Path) -> str:
    """The text of a file that only its owner can read; raises SettingsError when others can too, and OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in {os.geteuid(), 0}:
            raise SettingsError(f"{path} must be a plain file of the user who runs the ledger")
        if status.st_mode & _OTHERS:
            raise SettingsError(f"{path} may be read by its owner only; put that right with: chmod 600 {path}")
        return file.read().strip()


def _read(path: Path) -> str:
    secret = read_private(path)
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SettingsError(f"{path} holds less than {MIN_SECRET_BYTES} bytes; delete it to have a new secret made")
    return secret
