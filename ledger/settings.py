"""The settings: every one of them, typed, from environment variables handed in by the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast

from ledger.errors import SettingsError
from ledger.settings_reader import Reader, Setting

SETTINGS: tuple[Setting, ...] = (
    Setting("LEDGER_ENV", "development", "development, or production: nothing is made up, a missing secret is refused"),
    Setting("LEDGER_DATABASE_URL", "sqlite:///var/ledger.db", "sqlite:///PATH, or any libpq URI: postgresql://..."),
    Setting("LEDGER_VAR_DIR", "var", "directory of the files that the ledger makes for itself, such as jwt-secret"),
    Setting("LEDGER_JWT_SECRET", "", "shared secret of bearer tokens (HS256), at least 32 bytes", secret=True),
    Setting("LEDGER_JWT_PUBLIC_KEY", "", "PEM public key of bearer tokens (RS256, ES256, EdDSA), or the path of one"),
    Setting("LEDGER_JWT_JWKS_URL", "", "URL of the JWK set with the public keys of bearer tokens"),
    Setting("LEDGER_JWT_ISSUER", "", "the iss claim that bearer tokens must carry; empty: not checked"),
    Setting("LEDGER_JWT_AUDIENCE", "", "the aud claim that bearer tokens must carry; empty: none is accepted"),
    Setting("LEDGER_JWT_LEEWAY", "10", "seconds of clock difference allowed in token times, 0 to 300"),
    Setting("LEDGER_CATALOGUE", "", "path of the catalogue's JSON file; empty: the packaged demo catalogue"),
    Setting("LEDGER_CURRENCY", "usd", "ISO 4217 code of a currency with two decimals, lower case"),
    Setting("STRIPE_SECRET_KEY", "", "Stripe's secret key; empty: the embedded sandbox gateway", secret=True),
    Setting("STRIPE_WEBHOOK_SECRET", "", "signing secret of Stripe's webhooks, or two with a comma", secret=True),
    Setting("LEDGER_STRIPE_API_BASE", "https://api.stripe.com", "where Stripe's API is; elsewhere for tests"),
    Setting("LEDGER_STRIPE_TIMEOUT", "10", "seconds that a call to Stripe may take with its retries, 0.1 to 60"),
    Setting("LEDGER_LOG_KEY", "", "signer key of the transparency log, or its path; two with a comma", secret=True),
    Setting("LEDGER_WITNESSES", "", "verifier keys of witnesses, with commas, or a file of them: whose word is kept"),
    Setting("LEDGER_PUBLIC_LOG", "no", "yes: anybody may read the transparency log, every event's text included"),
    Setting("LEDGER_LOG_ORIGIN", "", "origin line of the log's checkpoints; empty: the name of the signer key"),
    Setting("LEDGER_RATE_LIMIT_USER", "", "requests of one user, such as 600/minute; empty: any number"),
    Setting("LEDGER_RATE_LIMIT_ADDRESS", "", "requests from one address, such as 1200/minute; empty: any number"),
    Setting(
        "LEDGER_RATE_LIMIT_STORE", "memory://", "where they are counted: memory:// (by each worker) or redis://..."
    ),
    Setting("LEDGER_PROXIES", "0", "proxies in front, whose X-Forwarded-For tells addresses apart, 0 to 10"),
    Setting("LEDGER_MAX_LAG", "30", "seconds that a follower may be behind the log before /readyz says so, 1 to 86400"),
    Setting("LEDGER_WEBHOOK_PRIVATE", "no", "yes: webhooks may go to private addresses, and without TLS"),
    Setting("LEDGER_BIND", "127.0.0.1:8000", "address:port that serve listens on"),
    Setting("LEDGER_WORKERS", "2", "worker processes of serve, 1 to 64"),
    Setting("LEDGER_THREADS", "16", "threads of each worker, 1 to 256"),
    Setting("LEDGER_PIN_WORKERS", "no", "yes: keep each worker to one CPU, on a machine that runs only the ledger"),
    Setting("LEDGER_DB_POOL_SIZE", "8", "PostgreSQL connections of each worker, 1 to 256"),
    Setting("LEDGER_DB_TIMEOUT", "5", "seconds to wait for a connection, a lock or a statement, 0.1 to 60"),
    Setting(
        "LEDGER_OTEL_ENDPOINT", "", "where traces are sent, such as http://localhost:4318/v1/traces; empty: nowhere"
    ),
    Setting("LEDGER_LOG_LEVEL", "info", "debug, info, warning or error"),
    Setting("LEDGER_LOG_FORMAT", "auto", "text, json (an object a line), or auto: json in production"),
)

_FORBIDDEN = {
    "POSTGRES_ENABLE_DB_FUNCTIONS": "that write path takes no lock, and followers lose events",
    "STRIPE_LOG": "the stripe library would print client secrets",
}
_DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process. Times are seconds."""

    env: Literal["development", "production"]
    database_url: str
    var_dir: Path
    jwt_secret: str | None
    jwt_public_key: str | None
    jwt_jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_leeway: int
    catalogue: Path | None
    currency: str
    stripe_secret_key: str | None
    stripe_webhook_secrets: tuple[str, ...]
    stripe_api_base: str
    stripe_timeout: float
    log_keys: tuple[str, ...]
    witnesses: tuple[str, ...]
    public_log: bool
    log_origin: str | None
    rate_limit_user: str | None
    rate_limit_address: str | None
    rate_limit_store: str
    proxies: int
    max_lag: int
    webhook_private: bool
    bind: str
    workers: int
    threads: int
    pin_workers: bool
    db_pool_size: int
    db_timeout: float
    otel_endpoint: str | None
    log_level: str
    log_format: str

    def __repr__(self) -> str:
        return f"Settings(env={self.env!r})"  # the others may hold secrets

    @property
    def logs_json(self) -> bool:
        """Whether the log is for programs."""
        return self.log_format == "json" or (self.log_format == "auto" and self.env == "production")

    @property
    def limits_in_redis(self) -> bool:
        """Whether requests are counted in Redis, for all workers together."""
        return self.rate_limit_store.startswith("redis")

    @property
    def stripe_live(self) -> bool:
        """Whether Stripe's secret key moves real money."""
        return self.stripe_secret_key is not None and "_live_" in self.stripe_secret_key

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Reads the settings; raises SettingsError with one line naming the first that makes no sense."""
        _refuse_unknown(environ)
        read = Reader(environ, SETTINGS)
        return cls(
            env=cast("Literal['development', 'production']", read.choice("LEDGER_ENV", ("development", "production"))),
            database_url=read.matching("LEDGER_DATABASE_URL", r"(sqlite:///.+|postgres(ql)?://.*)"),
            var_dir=Path(read.text("LEDGER_VAR_DIR")),
            jwt_secret=read.secret("LEDGER_JWT_SECRET"),
            jwt_public_key=read.optional("LEDGER_JWT_PUBLIC_KEY"),
            jwt_jwks_url=read.url("LEDGER_JWT_JWKS_URL"),
            jwt_issuer=read.optional("LEDGER_JWT_ISSUER"),
            jwt_audience=read.optional("LEDGER_JWT_AUDIENCE"),
            jwt_leeway=read.integer("LEDGER_JWT_LEEWAY", 0, 300),
            catalogue=Path(path) if (path := read.optional("LEDGER_CATALOGUE")) else None,
            currency=read.currency("LEDGER_CURRENCY"),
            stripe_secret_key=read.stripe_key("STRIPE_SECRET_KEY"),
            stripe_webhook_secrets=read.webhook_secrets("STRIPE_WEBHOOK_SECRET"),
            stripe_api_base=read.stripe_base("LEDGER_STRIPE_API_BASE"),
            stripe_timeout=read.number("LEDGER_STRIPE_TIMEOUT", 0.1, 60),
            log_keys=read.several("LEDGER_LOG_KEY"),
            witnesses=read.several("LEDGER_WITNESSES"),
            public_log=read.choice("LEDGER_PUBLIC_LOG", ("no", "yes", "0", "1")) in {"yes", "1"},
            log_origin=read.optional("LEDGER_LOG_ORIGIN"),
            rate_limit_user=read.rate("LEDGER_RATE_LIMIT_USER"),
            rate_limit_address=read.rate("LEDGER_RATE_LIMIT_ADDRESS"),
            rate_limit_store=read.matching("LEDGER_RATE_LIMIT_STORE", r"memory://|rediss?://.+"),
            proxies=read.integer("LEDGER_PROXIES", 0, 10),
            max_lag=read.integer("LEDGER_MAX_LAG", 1, 86_400),
            webhook_private=read.choice("LEDGER_WEBHOOK_PRIVATE", ("no", "yes")) == "yes",
            bind=read.matching("LEDGER_BIND", r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}|unix:.+"),
            workers=read.integer("LEDGER_WORKERS", 1, 64),
            threads=read.integer("LEDGER_THREADS", 1, 256),
            pin_workers=read.choice("LEDGER_PIN_WORKERS", ("no", "yes")) == "yes",
            db_pool_size=read.integer("LEDGER_DB_POOL_SIZE", 1, 256),
            db_timeout=read.number("LEDGER_DB_TIMEOUT", 0.1, 60),
            otel_endpoint=read.url("LEDGER_OTEL_ENDPOINT"),
            log_level=read.choice("LEDGER_LOG_LEVEL", ("debug", "info", "warning", "error")),
            log_format=read.choice("LEDGER_LOG_FORMAT", ("auto", "text", "json")),
        )


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name, reason in _FORBIDDEN.items():
        if environ.get(name):
            raise SettingsError(f"{name} must not be set: {reason}")
    unknown = sorted(name for name in environ if name.startswith("LEDGER_") and name not in _DEFAULTS)
    unknown = [name for name in unknown if not name.startswith("LEDGER_TEST_")]
    if unknown:
        raise SettingsError(f"there is no setting {unknown[0]}; see `order-ledger settings`")
    # Others have variables of this prefix, too; but one that is nearly ours would leave payments at the sandbox.
    for name in sorted(name for name in environ if name.startswith("STRIPE_") and name not in _DEFAULTS):
        meant = get_close_matches(name, _DEFAULTS, n=1, cutoff=0.9)
        if meant:
            raise SettingsError(f"there is no setting {name}; is {meant[0]} meant?")
