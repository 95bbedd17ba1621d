"""``webhooks``: who is told of orders. Telling them is part of ``serve`` and ``follow``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.table import Column, Table

from api.strict_json import MAX_INTEGER
from projections.webhooks.endpoints import Endpoints
from projections.webhooks.payloads import TYPES
from scripts.bootstrap import build
from scripts.context import Session, WholeNumber, pass_session


@click.group("webhooks")
def webhooks() -> None:
    """Register webhook endpoints, who are told of orders, and look after them."""


@contextmanager
def _endpoints(session: Session) -> Iterator[Endpoints]:
    with build(session.settings) as runtime:
        runtime.require_ready()
        yield runtime.services.endpoints


@webhooks.command("list")
@pass_session
def list_(session: Session) -> None:
    """Show the endpoints, and how their deliveries stand."""
    names = ("url", "types", "position", "delivered", "waiting", "failing", "dead", "error", "disabled")
    table = Table(Column("id", no_wrap=True), *names, box=None, pad_edge=False, header_style="bold")
    with _endpoints(session) as endpoints:
        for each in endpoints.all():
            numbers = (each.position, each.delivered, each.waiting, each.failing, each.dead)
            counts = [f"{number:,}" for number in numbers]
            table.add_row(each.id, each.url, ", ".join(each.types) or "all", *counts, each.error, each.disabled or "no")
    session.show(table)


@webhooks.command("add")
@click.argument("url")
@click.option(
    "--type", "types", multiple=True, type=click.Choice(list(TYPES.values())), help="Only this type; may be repeated."
)
@click.option(
    "--after",
    type=WholeNumber(0, MAX_INTEGER),
    metavar="POSITION",
    help="Begin after this position of the log (0: with the first event), instead of now.",
)
@pass_session
def add(session: Session, url: str, types: tuple[str, ...], after: int | None) -> None:
    """Register URL; prints its id and the secret that its webhooks are signed with, which is not shown again."""
    with _endpoints(session) as endpoints:
        endpoint, secret = endpoints.register(url, types, after)
    click.echo(f"{endpoint.id} {secret}")


@webhooks.command("remove")
@click.argument("id")
@pass_session
def remove(session: Session, id: str) -> None:
    """Forget the endpoint ID, and what waits for it."""
    with _endpoints(session) as endpoints:
        endpoints.remove(id)


@webhooks.command("rotate")
@click.argument("id")
@pass_session
def rotate(session: Session, id: str) -> None:
    """Print a new secret for the endpoint ID; the former one signs along for 24 hours."""
    with _endpoints(session) as endpoints:
        click.echo(endpoints.rotate(id))


@webhooks.command("enable")
@click.argument("id")
@pass_session
def enable(session: Session, id: str) -> None:
    """Send to the disabled endpoint ID again, beginning with what it has missed."""
    with _endpoints(session) as endpoints:
        endpoints.enable(id)


@webhooks.command("dead")
@click.argument("id")
@click.option("--after", type=WholeNumber(0, MAX_INTEGER), default=0, metavar="POSITION", help="Only those after it.")
@pass_session
def dead(session: Session, id: str, after: int) -> None:
    """Show what was given up for the endpoint ID, a hundred at a time."""
    table = Table("position", "stream", "error", box=None, pad_edge=False, header_style="bold")
    with _endpoints(session) as endpoints:
        for letter in endpoints.dead(id, after):
            table.add_row(str(letter.position), letter.stream, letter.error)
    session.show(table)


@webhooks.command("discard")
@click.argument("id")
@pass_session
def discard(session: Session, id: str) -> None:
    """Forget all that were given up for the endpoint ID."""
    with _endpoints(session) as endpoints:
        count = endpoints.discard(id)
    session.say(f"{count:,} are forgotten.")


@webhooks.command("replay")
@click.argument("id")
@pass_session
def replay(session: Session, id: str) -> None:
    """Try all that were given up for the endpoint ID again."""
    with _endpoints(session) as endpoints:
        count = endpoints.replay(id)
    session.say(f"{count:,} are tried again.")
