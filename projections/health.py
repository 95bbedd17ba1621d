"""Whether this ledger can serve: asked by the readiness endpoint, the doctor, the metrics and the console."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from ledger.clock import Clock, utc_now
from ledger.errors import MalformedProof, StorageUnavailable, told_whole
from ledger.events import UNREADABLE
from ledger.storage import Cursor, Database
from ledger.transparency.lines import recorded_at
from projections.compare import Finding
from projections.migrate import missing
from projections.sample import check_newest
from projections.searchable import SEARCHABLE, made_until, positions
from projections.transparency import LogSizes, continues, log_sizes
from projections.webhooks.endpoints import Endpoint, registered
from projections.webhooks.queue import MOST_WAITING

TREE, CHECKPOINT, SEARCH = "The transparency log", "The signed checkpoint", "The view of the search"
WEBHOOKS = "The queue of webhooks"
MAX_LAG = timedelta(seconds=30)
HOUR = timedelta(hours=1)
FAILING = 2 * HOUR
"""How long webhooks may fail before somebody should know: a receiver that is being set up anew is nobody's trouble."""

_ASKED = 20  # events, of which the first that says when it was recorded is enough
_NOT_UNDERSTOOD = (*UNREADABLE, MalformedProof)
_FIRST_FAILING = "SELECT min(position) FROM webhook_deliveries WHERE endpoint = ? AND dead = 0 AND error <> ''"
_log = logging.getLogger(__name__)
_SEE_BACKUPS = "A failover or a restore may have lost events: see docs/operations.md on backups."


class Watched(Protocol):
    """A follower of this process. ``stands``: it does not go on, as the log is not what it was, or can't be read."""

    name: str
    stands: bool

    def is_alive(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class FollowerState:
    """How far a follower of the log has come; ``behind`` is how long the first event that it lacks has waited.

    ``astray``: it has events that the log has not, or not any more. The log was cut off at its end, or changed there.
    ``begun``: it is being made, from events that were there before.
    """

    name: str
    slug: str
    position: int
    head: int
    behind: timedelta
    astray: bool
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the ledger stands. ``rebuilds``: by view, how far the one that is being made has come."""

    sizes: LogSizes
    followers: Sequence[FollowerState]
    checkpoint_age: timedelta | None
    rebuilds: Mapping[str, int]
    endpoints: Sequence[Endpoint]


@dataclass(frozen=True, slots=True)
class Symptom:
    """What is wrong, and what to do about it, a sentence each."""

    what: str
    remedy: str


class Health:
    """Looks at the database when asked, so that its answer is never older than the question.

    A follower may be ``max_lag`` behind; ``signs``: checkpoints are to be signed by that time, too.
    """

    def __init__(
        self, database: Database, *, max_lag: timedelta = MAX_LAG, signs: bool = False, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._max_lag = max_lag
        self._signs = signs
        self._clock = clock
        self._watched: list[Watched] = []

    def watch(self, follower: Watched) -> None:
        """From now on this process can't serve without this follower of its own."""
        self._watched.append(follower)

    def problem(self) -> str | None:
        """What keeps a command from working on this database; ``None`` when nothing does. Raises StorageUnavailable."""
        return missing(self._database)

    def symptoms(self) -> Iterator[Symptom]:
        """What keeps the ledger from serving as it should. May raise StorageUnavailable."""
        try:
            yield from self._symptoms()
        except _NOT_UNDERSTOOD as error:  # whatever was found before it has been told
            _log.error("how the ledger stands can't be read", exc_info=True)
            told = f"The log says more, and perhaps `order-ledger verify`: {told_whole(error)}."
            yield Symptom("The database holds what can't be read.", told)

    def _symptoms(self) -> Iterator[Symptom]:
        for own in self._watched:
            if not own.is_alive():
                what = f"The follower of {in_sentence(own.name)} has ended."
                yield Symptom(what, "Start this process again; its log says why.")
            elif own.stands:
                yield Symptom(f"{own.name} stands still.", f"The log of this process says why. {_SEE_BACKUPS}")
        problem = self.problem()
        if problem is not None:
            yield Symptom(problem, "Until then nothing else can be looked at.")
            return
        if not self._database.takes_writes():
            yield Symptom("The database takes no writes.", "It is a standby, or was made read-only: ask the primary.")
        for follower in self._followers():
            if follower.astray:
                cut = f"{follower.position:,} events, and the log ends at {follower.head:,}: it was cut off at its end"
                other = f"another event at {follower.position:,} than the log: it was cut off there, or changed"
                yield Symptom(
                    f"{follower.name} has {cut if follower.position > follower.head else other}.",
                    _SEE_BACKUPS,
                )
            elif follower.behind > self._max_lag and not follower.begun:
                waits = f"{follower.head - follower.position:,} events behind, the first of which has waited"
                yield Symptom(
                    f"{follower.name} is {waits} for {follower.behind.total_seconds():,.0f} seconds.",
                    "`order-ledger serve` and `order-ledger follow` keep it up; where one runs, its log says more.",
                )
        for finding in check_newest(self._database):
            # The finding itself tells what was ordered, and anybody may ask whether the service is ready.
            what = f"A view differs from the end of the log: {finding.subject}."
            yield Symptom(what, f"`order-ledger check` tells all such differences; here: {finding}.")

    def view_findings(self) -> Sequence[Finding]:
        """What the newest rows of the views differ in from the log, see check_newest. Raises StorageUnavailable."""
        with _understood():
            return list(check_newest(self._database))

    def complaints(self) -> Iterator[Symptom]:
        """What is wrong with telling others by webhooks, which does not keep the ledger from serving."""
        with _understood(), self._database.read() as cursor:
            endpoints = registered(cursor)
            [(head,)] = cursor.execute("SELECT coalesce(max(position), 0) FROM events")
            states = [self._state(cursor, each.id, each.id, each.position, head) for each in endpoints]
            failing_for = [self._failing_for(cursor, each) for each in endpoints]
        for endpoint, state, failing in zip(endpoints, states, failing_for, strict=True):
            if state.astray:
                yield Symptom(
                    f"{endpoint.id} was told by webhook of {state.position:,} events, and the log ends at {head:,}.",
                    "Remove it and register it anew, or it is not told of what comes at the lost positions.",
                )
            if state.behind > self._max_lag and not endpoint.disabled and endpoint.waiting < MOST_WAITING:
                seconds = f"{state.behind.total_seconds():,.0f} seconds"
                yield Symptom(
                    f"{endpoint.id} has not been told of the next event for {seconds}.",
                    "`order-ledger serve` and `order-ledger follow` do; where one runs, its log says more.",
                )
            if endpoint.waiting >= MOST_WAITING:
                yield Symptom(
                    f"{endpoint.waiting:,} webhooks to {endpoint.id} wait, and the rest of the log for them.",
                    "Its receiver is too slow, or down; once it answers, what waits is sent.",
                )
            if failing > FAILING:
                yield Symptom(
                    f"Webhooks to {endpoint.id} fail; the first has waited for {failing / HOUR:,.0f} hours.",
                    f"They are tried again for three days; the last time: {endpoint.error}.",
                )
            if endpoint.disabled:
                yield Symptom(
                    f"Webhook endpoint {endpoint.id} is disabled: {endpoint.disabled}.",
                    f"`order-ledger webhooks enable {endpoint.id}` sends again, `remove` forgets it.",
                )
            if endpoint.dead:
                yield Symptom(
                    f"{endpoint.dead:,} webhooks to {endpoint.id} were given up.",
                    f"`order-ledger webhooks dead {endpoint.id}` says why; `replay` sends again, `discard` forgets.",
                )

    def _failing_for(self, cursor: Cursor, endpoint: Endpoint) -> timedelta:
        """How long the first event has waited whose webhook has failed and is to be tried again."""
        if endpoint.disabled or not endpoint.failing:
            return timedelta(0)
        [(first,)] = cursor.execute(_FIRST_FAILING, (endpoint.id,))
        moment = moment_of(cursor, first or 0)
        return timedelta(0) if moment is None else self._clock() - moment

    def followers(self) -> Sequence[FollowerState]:
        """The transparency log's tree, its signed checkpoints where there is a key, and the view of the search.

        Raises StorageUnavailable.
        """
        with _understood():
            return self._followers()

    def _followers(self) -> list[FollowerState]:
        sizes = log_sizes(self._database)  # not within: that would take a second connection, and keep one meanwhile
        with self._database.read() as cursor:
            return self._states(cursor, sizes)

    def standing(self) -> Standing:
        """How everything stands. Raises StorageUnavailable."""
        sizes = log_sizes(self._database)  # not within, as for the followers
        with _understood(), self._database.read() as cursor:
            states = self._states(cursor, sizes)
            [(signed,)] = cursor.execute("SELECT max(signed_at) FROM log_checkpoints")
            rows = cursor.execute("SELECT view_name, position FROM rebuilds WHERE role = 'next'")
            endpoints = registered(cursor)
            rebuilds = dict[str, int]((view, position) for view, position in rows)
            rebuilds |= dict[str, int]((SEARCHABLE.name, state.position) for state in states if state.begun)
            age = None if signed is None else max(timedelta(0), self._clock() - datetime.fromisoformat(signed))
        return Standing(sizes, states, age, rebuilds, endpoints)

    def head(self) -> int:
        """The position of the log's last event, 0 when it is empty. Raises StorageUnavailable."""
        return self.log_sizes().head

    def log_sizes(self) -> LogSizes:
        """How far the log, its tree and its checkpoints have come. Raises StorageUnavailable."""
        return log_sizes(self._database)

    def _states(self, cursor: Cursor, sizes: LogSizes) -> list[FollowerState]:
        continued = continues(cursor, sizes.tree)
        states = [self._state(cursor, TREE, "transparency-log", sizes.tree, sizes.head, astray=not continued)]
        if self._signs:
            states.append(self._state(cursor, CHECKPOINT, "checkpoints", sizes.checkpoint, sizes.head))
        # Its position with the head of the same moment: with an earlier one it would seem to be ahead.
        position, head = positions(cursor)
        search = self._state(cursor, SEARCH, "order-search", max(0, position), head)
        return [*states, replace(search, begun=position < made_until(cursor))]

    def _state(
        self, cursor: Cursor, name: str, slug: str, position: int, head: int, *, astray: bool = False
    ) -> FollowerState:
        moment = _waiting_since(cursor, position) if position < head else None
        behind = timedelta(0) if moment is None else max(timedelta(0), self._clock() - moment)
        return FollowerState(name, slug, position, head, behind, astray or position > head)


@contextmanager
def _understood() -> Iterator[None]:
    """Of a database that holds what no release has written nothing can be told, as of one that does not answer."""
    try:
        yield
    except _NOT_UNDERSTOOD as error:
        raise StorageUnavailable(f"The database holds what can't be read: {told_whole(error)}.") from error


def _waiting_since(cursor: Cursor, position: int) -> datetime | None:
    """When the first event after a position was recorded, as far as is known: it may be lost, or not say."""
    rows = cursor.execute("SELECT body FROM events WHERE position > ? ORDER BY position LIMIT ?", (position, _ASKED))
    return next((moment for (body,) in rows if (moment := _moment(body)) is not None), None)


def in_sentence(name: str) -> str:
    """The name of what is followed, as it stands inside a sentence."""
    return f"{name[0].lower()}{name[1:]}"


def moment_of(cursor: Cursor, position: int) -> datetime | None:
    """When the event at a position was recorded; ``None`` when there is none, or it does not say."""
    rows = cursor.execute("SELECT body FROM events WHERE position = ?", (position,))
    return _moment(rows[0][0]) if rows else None


def _moment(body: str) -> datetime | None:
    moment = recorded_at(body)
    try:
        found = None if moment is None else datetime.fromisoformat(moment)
    except ValueError:  # no command writes that, nor a time of nowhere
        return None
    return found if found is not None and found.tzinfo is not None else None
