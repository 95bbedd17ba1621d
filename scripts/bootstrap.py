"""The composition root: builds the ledger from typed settings. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from flask import Flask

from api.auth import TokenPolicy, TokenVerifier
from api.openapi import package_version
from api.services import Services
from ledger.application import OrderLedger
from ledger.catalogue import Catalogue
from ledger.clock import utc_now
from ledger.errors import SettingsError, StorageUnavailable
from ledger.observer import Observed
from ledger.payments.gateway import PaymentGateway
from ledger.payments.sandbox import SandboxGateway
from ledger.ports import Ports
from ledger.settings import Settings
from ledger.storage import Database, open_database
from ledger.storage.intents import IntentOrders
from ledger.storage.recorder import LogRecorder
from ledger.storage.reservations import Reservations
from projections.cosignatures import Cosignatures
from projections.health import Health
from projections.history import HistoryReads
from projections.idempotency import ReceiptReads
from projections.leads import LeadReads
from projections.live import LiveViews
from projections.log import LogReads
from projections.migrate import migrate, outdated
from projections.orders import OrderReads
from projections.overview import OverviewReads
from projections.payments import PaymentReads
from projections.proofs import ProofReads
from projections.search import OrderSearch
from projections.search_follower import SearchFollower
from projections.store import VIEWS
from projections.transparency import Follower
from projections.watcher import NOBODY, Watcher
from projections.webhooks.deliverer import Deliverer
from projections.webhooks.endpoints import Endpoints
from projections.webhooks.sending import sender
from scripts.command_log import CommandLog
from scripts.gateway import choose_gateway, make_webhooks
from scripts.log_keys import log_origin, log_signers, log_witnesses


@dataclass(frozen=True)
class Runtime:
    """A ledger that is ready to be used by one process; closes its connections at the end of a ``with`` block."""

    settings: Settings
    database: Database
    views: LiveViews
    services: Services
    gateway: PaymentGateway
    sandbox: SandboxGateway | None
    closing: ExitStack = field(default_factory=ExitStack)

    def migrate(self, watcher: Watcher = NOBODY) -> None:
        """Creates or upgrades the schema, and makes views that are missing; raises LedgerError or SettingsError."""
        migrate(self.database, watcher=watcher)

    def former_views(self) -> str | None:
        """Which views serve as a former release made them, and what to do about it; ``None`` when none does."""
        names = ", ".join(view.name for view in outdated(self.database))
        if not names:
            return None
        return f"In force as a former release made them: {names}. `order-ledger rebuild` brings the latest."

    def require_ready(self) -> None:
        """Raises StorageUnavailable, saying what to do, when the database can't be used as it is."""
        problem = self.services.health.problem()
        if problem is not None:
            raise StorageUnavailable(problem)

    def require_sandbox(self, command: str) -> SandboxGateway:
        """The embedded gateway; raises SettingsError, naming the command that can't do without, when it is not used."""
        if self.sandbox is None:
            raise SettingsError(f"{command} works with the embedded sandbox gateway only, and STRIPE_SECRET_KEY is set")
        return self.sandbox

    def follower(self) -> Follower:
        """What keeps the transparency log of this ledger; raises SettingsError when its keys can't be used."""
        signers = log_signers(self.settings)
        origin = log_origin(self.settings, signers)
        return Follower(self.database, signers, origin, clock=utc_now)

    def search_follower(self) -> SearchFollower:
        """What keeps the view of the search."""
        return SearchFollower(self.database)

    def deliverer(self) -> Deliverer:
        """What delivers webhooks, until this runtime is closed."""
        deliverer = Deliverer(self.database, sender(private=self.settings.webhook_private))
        self.closing.callback(deliverer.close)
        return deliverer

    def app(self, stopping: Callable[[], bool] = lambda: False) -> Flask:
        """The HTTP API on this ledger, in a process that may be ``stopping``."""
        # prometheus_client decides when it is first imported whether processes share their metrics, and `serve` says
        # so only once it runs.
        from api.app import create_app  # noqa: PLC0415
        from api.limits import LimitPolicy  # noqa: PLC0415

        streams = min(self.settings.threads - 1, max(1, self.settings.threads // 4))
        limits = LimitPolicy(
            user=self.settings.rate_limit_user,
            address=self.settings.rate_limit_address,
            store=self.settings.rate_limit_store,
            proxies=self.settings.proxies,
        )
        app = create_app(
            self.services,
            token_verifier(self.settings),
            streams=streams,
            stopping=stopping,
            public_log=self.settings.public_log,
            limits=limits,
            secure_cookies=self.settings.env == "production",
        )
        self.services.observed.by = CommandLog(self.services.observed.by)
        if self.settings.otel_endpoint is not None:
            # What traces need is loaded only where there are any.
            from scripts.tracing import Tracing  # noqa: PLC0415

            tracing = Tracing(self.settings.otel_endpoint, package_version())
            tracing.watch(self.services.observed)
            app.wsgi_app = tracing.around(app.wsgi_app)  # type: ignore[assignment, method-assign]  # as documented
            self.closing.callback(tracing.close)
        return app

    def close(self) -> None:
        """Closes every connection; what was begun last ends first."""
        with closing(self.database):
            self.closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def build(settings: Settings) -> Runtime:
    """Wires everything together. Nothing connects yet, so a database that is down does not matter here."""
    catalogue = Catalogue.load(settings.catalogue)
    database = open_database(settings.database_url, pool_size=settings.db_pool_size, timeout=settings.db_timeout)
    observed = Observed()
    chosen = choose_gateway(settings, database, observed)
    views = LiveViews(database, VIEWS)
    reservations = Reservations(database)
    ports = Ports(
        recorder=LogRecorder(database, views, observed),
        observed=observed,
        receipts=ReceiptReads(views),
        gateway=chosen.gateway,
        catalogue=catalogue,
        currency=settings.currency,
        reserve_order=reservations.held if chosen.sandbox is None else reservations.fresh,
        order_of_intent=IntentOrders(database).order_of,
    )
    services = Services(
        ledger=OrderLedger(ports),
        orders=OrderReads(views),
        payments=PaymentReads(views),
        history=HistoryReads(database),
        log=LogReads(database),
        overview=OverviewReads(views),
        search=OrderSearch(views),
        proofs=ProofReads(database),
        cosignatures=Cosignatures(database, log_witnesses(settings)),
        leads=LeadReads(views),
        endpoints=Endpoints(database, private=settings.webhook_private),
        catalogue=catalogue,
        currency=settings.currency,
        health=Health(database, max_lag=timedelta(seconds=settings.max_lag), signs=bool(settings.log_keys)),
        webhooks=make_webhooks(settings, database),
        observed=observed,
    )
    return Runtime(settings, database, views, services, chosen.gateway, chosen.sandbox)


def check_extras(settings: Settings) -> None:
    """Raises SettingsError when the settings ask for what is not installed."""
    wanted = {
        "LEDGER_RATE_LIMIT_STORE": ("redis", settings.limits_in_redis),
        "LEDGER_OTEL_ENDPOINT": ("opentelemetry", settings.otel_endpoint is not None),
    }
    for name, (package, is_wanted) in wanted.items():
        if is_wanted and find_spec(package) is None:
            extra = "otel" if package == "opentelemetry" else package
            raise SettingsError(f"{name}: this needs an extra: pip install 'order-ledger[{extra}]'")


def token_verifier(settings: Settings) -> TokenVerifier:
    """What checks bearer tokens; raises SettingsError when there is no key, or one that makes no sense."""
    policy = TokenPolicy(
        secret=settings.jwt_secret,
        public_key=_pem(settings.jwt_public_key),
        jwks_url=settings.jwt_jwks_url,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway=settings.jwt_leeway,
    )
    return TokenVerifier(policy, utc_now)


def environment() -> Mapping[str, str]:
    """This process's environment variables."""
    return dict(os.environ)


def _pem(key: str | None) -> str | None:
    """The text of a PEM key that is given as such (also on one line, with ``\\n``) or as the path of a file."""
    if key is None or key.lstrip().startswith("-----BEGIN"):
        return key and key.replace("\\n", "\n")
    try:
        return Path(key).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a PEM file"
        raise SettingsError(f"LEDGER_JWT_PUBLIC_KEY: {key} can't be read: {reason}") from error
