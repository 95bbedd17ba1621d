"""``replay``: an order's history and its state at any moment of it, read from the log alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from ledger.clock import rfc3339
from ledger.storage.log import RecordedEvent
from projections.fold import fold
from projections.orders import VIEW, as_object
from projections.poison import UNFOLDABLE
from scripts.bootstrap import build
from scripts.context import ORDER_ID, Session, WholeNumber, pass_session


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{value!r} is not a time such as 2025-01-31T12:00:00Z") from error


@click.command("replay")
@click.argument("order", type=ORDER_ID)
@click.option("--version", type=WholeNumber(1), metavar="N", help="As it was at this version.")
@click.option(
    "--as-of",
    callback=_moment,
    metavar="TIME",
    help="As it was at this moment (RFC 3339). With --version: at the earlier of the two.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the events and the state.")
@pass_session
def replay(session: Session, order: int, version: int | None, as_of: datetime | None, as_json: bool) -> None:
    """Show the history of ORDER, and its state then."""
    with build(session.settings) as runtime:
        runtime.require_ready()
        events = runtime.services.ledger.history(order)
    if version is not None:
        if version > len(events):
            raise click.UsageError(f"Order {order} has no version {version} yet: it is at {len(events)}.")
        events = events[:version]
    try:
        if as_of is not None:
            events = [event for event in events if json.loads(event.body)["timestamp"] <= rfc3339(as_of)]
        state = _state(events)
        if as_json:
            click.echo(json.dumps({"events": [_event(event) for event in events], "state": state}, indent=2))
        else:
            _print(session, order, events, state)
    except UNFOLDABLE as error:
        raise click.ClickException(f"An event of order {order} can't be read; `check` says which: {error}") from error


def _state(events: Sequence[RecordedEvent]) -> dict[str, Any] | None:
    """What the order view makes of these events, which is what the API answered then (but for the client secret)."""
    return next((as_object(row) for row in fold(VIEW, events).values()), None)


def _event(event: RecordedEvent) -> dict[str, Any]:
    body = json.loads(event.body)
    return {"position": event.position, "version": event.version, "type": event.type, "body": body}


def _print(session: Session, order: int, events: Sequence[RecordedEvent], state: dict[str, Any] | None) -> None:
    if state is None:
        click.echo(f"Order {order} did not exist then.")
        return
    table = Table(title=f"Order {order}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("Position", "Version"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("Time", "Event", "What", "Who", "Why"):
        table.add_column(column, no_wrap=column == "Time")
    for event in events:
        body = json.loads(event.body)
        what, who, why = _what(body), _who(body["actor"]), _why(body["cause"])
        table.add_row(str(event.position), str(event.version), body["timestamp"], event.type, what, who, why)
    session.show(table)
    click.echo("\nState then:")
    for name, value in state.items():
        click.echo(f"  {name}: {json.dumps(value, ensure_ascii=False)}")


def _what(body: dict[str, Any]) -> str:
    if "status" in body:
        return f"{body['previous']} -> {body['status']}"
    amount = f"{body['amount_in_cents'] // 100}.{body['amount_in_cents'] % 100:02} {body['currency']}"
    if "kind" in body:
        told = " ".join(part for part in (body["kind"], body["detail"], amount) if part)
        return f"{told}: anomaly" if body["anomaly"] else told
    pieces = sum(line["quantity"] for line in body["lines"])
    return f"{pieces} {'piece' if pieces == 1 else 'pieces'}, {amount}"


def _who(actor: dict[str, Any]) -> str:
    who = str(actor["role"]) if actor["user"] is None else f"{actor['role']} {actor['user']}"
    return f"{who} by {actor['impersonated_by']}" if "impersonated_by" in actor else who


def _why(cause: dict[str, Any]) -> str:
    if "stripe_event_id" in cause:
        return str(cause["stripe_event_id"])
    named = {"request": "request_id", "Idempotency-Key": "idempotency_key"}
    why = [f"{name} {cause[member]}" for name, member in named.items() if member in cause]
    if "reason" in cause:
        why.insert(0, json.dumps(cause["reason"], ensure_ascii=False))
    return ", ".join(why) or "-"
