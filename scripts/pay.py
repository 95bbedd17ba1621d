"""``pay``: settles an order's payment at the embedded sandbox gateway, as a customer would at the real one."""

from __future__ import annotations

import click

from scripts.bootstrap import build
from scripts.context import Session, pass_session


@click.command("pay")
@click.argument("order", type=click.IntRange(1, 2**63 - 1))
@click.option("--fail", is_flag=True, help="The payment fails instead.")
@click.option("--refund", is_flag=True, help="Refund all that was received.")
@pass_session
def pay(session: Session, order: int, fail: bool, refund: bool) -> None:
    """Settle the payment of ORDER at the sandbox gateway, and record what its webhook would tell."""
    if fail and refund:
        raise click.UsageError("--fail and --refund exclude each other.")
    with build(session.settings) as runtime:
        runtime.require_ready()
        if refund:
            runtime.sandbox.refund(order)
            click.echo(f"All that was received for order {order} is refunded.")
            return
        outcome = runtime.services.ledger.settle_payment(runtime.sandbox.settle(order, fail=fail))
        click.echo(f"Order {order} is {outcome.status}.")
