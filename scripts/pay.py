"""``pay``: settles an order's payment at the embedded sandbox gateway, as a customer would at the real one."""

from __future__ import annotations

import json
import secrets

import click

from ledger.actor import PAYMENTS, Cause
from ledger.application import OrderLedger
from ledger.errors import LedgerError, SettingsError
from ledger.payments.gateway import PaymentNotice
from ledger.payments.sandbox import SandboxGateway
from ledger.statuses import Status
from scripts.bootstrap import build
from scripts.context import ORDER_ID, Session, pass_session


@click.command("pay")
@click.argument("order", type=ORDER_ID)
@click.option("--fail", is_flag=True, help="The payment fails instead.")
@click.option("--refund", is_flag=True, help="Refund all that was received.")
@pass_session
def pay(session: Session, order: int, fail: bool, refund: bool) -> None:
    """Settle the payment of ORDER at the sandbox gateway, and record what its webhook would tell. Not in production."""
    if fail and refund:
        raise click.UsageError("--fail and --refund exclude each other.")
    settings = session.settings
    if settings.env == "production":
        raise SettingsError("pay settles payments that nobody made, so it does not run with LEDGER_ENV=production")
    with build(settings) as runtime:
        sandbox = runtime.require_sandbox("pay")
        runtime.require_ready()
        ledger = runtime.services.ledger
        click.echo(_refund(ledger, sandbox, order) if refund else _settle(ledger, sandbox, order, fail=fail))


def _refund(ledger: OrderLedger, sandbox: SandboxGateway, order: int) -> str:
    notice = sandbox.refund_all(order)
    if notice is None:
        raise LedgerError(f"Nothing was received for order {order}.")
    _record(ledger, notice)
    return f"All that was received for order {order} is refunded."


def _settle(ledger: OrderLedger, sandbox: SandboxGateway, order: int, *, fail: bool) -> str:
    created = json.loads(ledger.history(order)[0].body)
    received = sandbox.retrieve_intent(created["payment_intent_id"]).amount_received
    if fail and received:
        raise LedgerError(f"The payment of order {order} succeeded already, and can't fail any more.")
    # A settled payment is told again, too: the notice of it may have been lost.
    _record(ledger, sandbox.settle(order, fail=fail))
    status = _status(ledger, order)
    if received:
        return f"The payment of order {order} had succeeded already; the order is {status}."
    return f"Order {order} is {status}."


def _record(ledger: OrderLedger, notice: PaymentNotice) -> None:
    cause = Cause(request_id=f"pay-{secrets.token_hex(12)}")
    ledger.record_payment(notice, actor=PAYMENTS, cause=cause)


def _status(ledger: OrderLedger, order: int) -> str:
    """The order's status now, which is not that of a payment's notice when moves have followed it."""
    latest = json.loads(ledger.history(order)[-1].body)
    return str(latest.get("status") or latest.get("order_status", Status.PENDING))
