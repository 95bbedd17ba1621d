"""How settings are read: each from a variable of the environment, in a form of its own, refused in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ledger.errors import SettingsError

MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key of at least the size of the hash output
_ROTATING = 2  # secrets at a time, while a new one takes the place of the old
_ZERO_OR_THREE_DECIMALS = frozenset(
    [
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
        "bhd",
        "jod",
        "kwd",
        "omr",
        "tnd",
    ]
)  # https://docs.stripe.com/currencies: their smallest unit is not a hundredth


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as documentation shows it; ``secret`` values are never printed."""

    name: str
    default: str
    meaning: str
    secret: bool = False


class Reader:
    """Reads one variable at a time; an empty variable counts as unset. Every method may raise SettingsError."""

    def __init__(self, environ: Mapping[str, str], known: Sequence[Setting]) -> None:
        self._environ = environ
        self._known = {setting.name: setting for setting in known}

    def text(self, name: str) -> str:
        """The value, or the default."""
        return self._environ.get(name, "").strip() or self._known[name].default

    def optional(self, name: str) -> str | None:
        """The value; ``None`` when it is empty."""
        return self.text(name) or None

    def several(self, name: str) -> tuple[str, ...]:
        """The values between commas."""
        return tuple(value.strip() for value in self.text(name).split(",") if value.strip())

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of the choices, in lower case."""
        value = self.text(name).lower()
        if value not in choices:
            raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def matching(self, name: str, pattern: str) -> str:
        """A value that is of this form as a whole."""
        value = self.text(name)
        if not re.fullmatch(pattern, value):
            raise SettingsError(f"{name} is not of a known form: {self._known[name].meaning}")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number, both ends included."""
        value = self.text(name)
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not low <= int(value) <= high:
            raise SettingsError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        return int(value)

    def number(self, name: str, low: float, high: float) -> float:
        """A decimal number, both ends included."""
        value = self.text(name)
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII) or not low <= float(value) <= high:
            raise SettingsError(f"{name} must be a number from {low} to {high}, not {value!r}")
        return float(value)

    def rate(self, name: str) -> str | None:
        """So many requests a time: ``600/minute``."""
        value = self.optional(name)
        if value is not None and not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", value, re.ASCII):
            raise SettingsError(f"{name} must be a number of requests a second, minute, hour or day: 600/minute")
        return value

    def secret(self, name: str) -> str | None:
        """A secret of at least MIN_SECRET_BYTES."""
        value = self.optional(name)
        if value is not None and len(value.encode()) < MIN_SECRET_BYTES:
            raise SettingsError(f"{name} must be at least {MIN_SECRET_BYTES} bytes long")
        return value

    def url(self, name: str) -> str | None:
        """An http or https URL."""
        value = self.optional(name)
        if value is not None and not _is_http_url(value):
            raise SettingsError(f"{name} must be an http or https URL")
        return value

    def stripe_key(self, name: str) -> str | None:
        """A secret or restricted key of Stripe's."""
        value = self.optional(name)
        if value is not None and not re.fullmatch(r"[sr]k_(test|live)_[A-Za-z0-9_]+", value, re.ASCII):
            raise SettingsError(
                f"{name} must be a secret or restricted key of Stripe, as sk_test_... and rk_live_... are"
            )
        return value

    def webhook_secrets(self, name: str) -> tuple[str, ...]:
        """One signing secret of Stripe's webhooks, or two."""
        values = tuple(value.strip() for value in self.text(name).split(",")) if self.text(name) else ()
        if len(values) > _ROTATING or not all(map(re.compile(r"whsec_[!-~]+").fullmatch, values)):
            raise SettingsError(f"{name} must be one signing secret of Stripe (whsec_...), or two with a comma between")
        if any(len(value) < MIN_SECRET_BYTES for value in values):
            raise SettingsError(f"{name} must be at least {MIN_SECRET_BYTES} bytes long")
        return values

    def stripe_base(self, name: str) -> str:
        """Where Stripe's API is, without a slash at the end; https for a live key."""
        value = self.text(name).rstrip("/")
        if not _is_http_url(value):
            raise SettingsError(f"{name} must be an http or https URL")
        if urlsplit(value).path or urlsplit(value).query:
            raise SettingsError(f"{name} must have no path: the ledger adds it")
        if value.startswith("http:") and "_live_" in self.text("STRIPE_SECRET_KEY"):
            raise SettingsError(f"{name} must be an https URL: the live key would be sent for all to read")
        return value

    def currency(self, name: str) -> str:
        """An ISO 4217 code, in lower case, of a currency with two decimals."""
        value = self.matching(name, r"[a-z]{3}")
        if value in _ZERO_OR_THREE_DECIMALS:
            raise SettingsError(f"{name}: amounts are in cents, so a currency with two decimals is needed, not {value}")
        return value


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
