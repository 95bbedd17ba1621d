"""Orders as the console searches and counts them: one row an order, and how many were placed by hour and day.

This view follows the log (see search_follower.py) instead of being written with it: no append waits for its
indexes, and it is a moment late. ``followed`` says up to which position it is right; what is below 0 is being emptied.
Up to a second position, where the log ended when somebody began to make it, it takes in what was there before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ledger.order import order_id_of
from ledger.statuses import Status
from ledger.storage import Cursor
from ledger.storage.tables import Row, Table
from projections.bodies import OrderCreated
from projections.view import Change, EventFacts, Insert, Update, View

SEARCHABLE = Table(
    "order_search",
    {"order_id": "bigint", "user_id": "bigint", "status": "text", "placed_at": "text", "amount": "bigint"},
    indexes=(
        ("placed_at", "order_id"),
        ("user_id", "placed_at", "order_id"),
        ("status", "placed_at", "order_id"),
        ("status", "amount"),
    ),
)
PERIODS = Table(
    "order_periods",
    {"width": "text", "starts": "text", "status": "text", "orders": "bigint", "amount": "bigint"},
    key_size=3,
)
"""Of each hour and day, and each status that its orders have now: how many they are, and their amounts together."""

WIDTHS = {"day": len("2026-01-31"), "hour": len("2026-01-31T10")}
"""Characters of a moment that name the period of this width."""

BEHIND = 10_000
"""Events that the view may lack to be of use."""

EMPTYING = -1
"""The position of a view that is to be made again, and still holds former rows."""

_HEAD = "(SELECT coalesce(max(position), 0) FROM events)"
_FOLLOWED = "CREATE TABLE IF NOT EXISTS followed (name text PRIMARY KEY, position bigint NOT NULL)"
_BEGUN = (
    "INSERT INTO followed (name, position)"
    f" VALUES ('{SEARCHABLE.name}', 0), ('{SEARCHABLE.name} until', {_HEAD}) ON CONFLICT (name) DO NOTHING"
)
DDL = (*SEARCHABLE.ddl(), *PERIODS.ddl(), _FOLLOWED, _BEGUN)

BEGIN_AGAIN = (
    "INSERT INTO followed (name, position)"
    f" VALUES ('{SEARCHABLE.name}', {EMPTYING}), ('{SEARCHABLE.name} until', {_HEAD})"
    " ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)
_POSITIONS = f"SELECT position, {_HEAD} FROM followed WHERE name = '{SEARCHABLE.name}'"
_UNTIL = f"SELECT position FROM followed WHERE name = '{SEARCHABLE.name} until'"

Tally = dict[tuple[str, str, str], tuple[int, int]]
"""By width, period and status: how many orders, and their amounts together."""


def _created(event: EventFacts) -> tuple[Change]:
    body: OrderCreated = event.body
    row = (body.order_id, body.user_id, Status.PENDING.value, body.timestamp, body.amount_in_cents)
    return (Insert(row),)


def _moved(event: EventFacts) -> tuple[Change]:
    return (Update((order_id_of(event.stream),), {"status": event.body.status}),)


def _paid(event: EventFacts) -> tuple[Change]:
    return (Update((order_id_of(event.stream),), {"status": event.body.order_status}),)


VIEW = View(
    SEARCHABLE.name, 1, SEARCHABLE, {"OrderCreated": _created, "StatusChanged": _moved, "PaymentRecorded": _paid}
)


def positions(cursor: Cursor) -> tuple[int, int]:
    """How far the view has come, and the log."""
    [(position, head)] = cursor.execute(_POSITIONS)
    return int(position), int(head)


def made_until(cursor: Cursor) -> int:
    """Where the log ended when the view was begun."""
    return max((int(position) for (position,) in cursor.execute(_UNTIL)), default=0)


def is_usable(position: int, head: int) -> bool:
    """Whether the view has so much of the log that it is of use."""
    return 0 <= head - position <= min(BEHIND, position)


def tally_of(gone: Iterable[Row], come: Iterable[Row]) -> Tally:
    """How the counts change when these rows of the view go and those come."""
    sums: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for rows, sign in ((gone, -1), (come, 1)):
        for _, _, status, placed_at, amount in rows:
            for width, size in WIDTHS.items():
                counted = sums[width, placed_at[:size], status]
                counted[0] += sign
                counted[1] += sign * amount
    return {key: (orders, amount) for key, (orders, amount) in sums.items() if orders or amount}


def counting(table: str) -> str:
    """The query of all counts that a table of the view comes to, as rows of PERIODS."""
    return " UNION ALL ".join(
        f"SELECT '{width}', substr(placed_at, 1, {size}) AS starts, status, count(*), sum(amount)"
        f" FROM {table} GROUP BY starts, status"
        for width, size in WIDTHS.items()
    )
