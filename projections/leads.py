"""The lead board: one row a user, once the user has arranged the board."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ledger.leads import LEAD_STATUSES
from ledger.storage.tables import Table
from projections.live import LiveViews
from projections.view import Change, EventFacts, Insert, Update, View

LEAD_BOARDS = Table("lead_boards", {"user_id": "bigint", "arrangement": "text", "version": "bigint"})


def _arranged(event: EventFacts) -> tuple[Change]:
    user_id, arrangement = event.body.user_id, json.dumps(event.body.arrangement)
    if event.version == 1:
        return (Insert((user_id, arrangement, event.version)),)
    return (Update((user_id,), {"arrangement": arrangement, "version": event.version}),)


VIEW = View("lead_boards", 1, LEAD_BOARDS, {"LeadStatusesArranged": _arranged})


@dataclass(frozen=True, slots=True)
class LeadStatus:
    """A lead status at its place on the board, 1 being the first."""

    id: int
    name: str
    place: int


class LeadReads:
    """The query of the board endpoint."""

    def __init__(self, views: LiveViews) -> None:
        self._views = views

    def board(self, user_id: int) -> list[LeadStatus]:
        """A user's board in order of place; the default one when the user has not arranged it."""
        rows = self._views.read("SELECT arrangement FROM {lead_boards} WHERE user_id = ?", (user_id,))
        arrangement = json.loads(rows[0][0]) if rows else list(LEAD_STATUSES)
        return [LeadStatus(id, LEAD_STATUSES[id], place) for place, id in enumerate(arrangement, 1)]
