"""``order-ledger``: the commands, and what every failure looks like: one line on stderr and an exit code.

0: done. 1: refused, the check failed, or something that is needed can't be reached. 2: wrong usage or settings.
"""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

import click

from ledger.errors import LedgerError, SettingsError
from scripts.bench import bench
from scripts.bootstrap import environment
from scripts.check import check
from scripts.context import Session
from scripts.cosign import cosign
from scripts.database import doctor, migrate
from scripts.export import export, import_
from scripts.follow import follow
from scripts.log_keys import keygen
from scripts.pay import pay
from scripts.rebuild import rebuild
from scripts.reconcile import reconcile
from scripts.replay import replay
from scripts.seed import seed
from scripts.serve import serve
from scripts.settings_cmd import settings
from scripts.tokens import token
from scripts.verify import verify
from scripts.webhooks import webhooks

FAILED = 1
USAGE = 2


class OneLineErrors(click.Group):
    """Turns the refusals of the ledger into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            _fail(error, USAGE)
        except LedgerError as error:
            _fail(error, FAILED)


def _fail(error: Exception, code: int) -> NoReturn:
    line = " ".join(str(error).split())
    click.echo(f"order-ledger: {line}", err=True)
    sys.exit(code)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quiet", "-q", is_flag=True, help="No progress and no remarks; results and errors only.")
@click.version_option(package_name="order-ledger")
@click.pass_context
def main(ctx: click.Context, quiet: bool) -> None:
    """The order ledger. Settings come from the environment, LEDGER_* and STRIPE_*: see `order-ledger settings`."""
    # A failure is told in one line, by OneLineErrors; the retries of a connection pool before it are not.
    logging.basicConfig(handlers=[logging.NullHandler()])
    ctx.obj = Session(environment(), quiet=quiet)


for command in (
    serve,
    token,
    migrate,
    doctor,
    check,
    settings,
    pay,
    rebuild,
    reconcile,
    seed,
    replay,
    export,
    import_,
    keygen,
    cosign,
    follow,
    verify,
    webhooks,
    bench,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
