"""The follower that keeps the transparency log: it reads events in order of position, and signs what they come to.

Each step is one transaction that holds the tree's row: several followers take turns, and one that dies leaves the tree
of a whole step. A checkpoint is signed in a transaction of its own, of a tree that was committed before it began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.clock import Clock, rfc3339
from ledger.errors import AlreadyRunning, NotProven
from ledger.storage import Cursor, Database
from ledger.storage.database import with_views_in_force
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.keys import SignerKey
from ledger.transparency.leaf import event_leaf
from ledger.transparency.merkle import CompactRange, tree_root
from ledger.transparency.notes import Note
from projections.attested import attest_anew, attest_since, read_attested
from projections.live import LiveViews
from projections.store import VIEWS
from projections.tree import append_leaves, latest_checkpoint, lock_tree, node_reader, read_leaf

_ANEW = 100_000
"""Events after which hashing all orders anew is no more work than finding out which have changed."""

BATCH = 2000
"""Events of one step: milliseconds on SQLite, where appends wait for it meanwhile."""

_NEXT = f"SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?"
_SIZES = (
    "SELECT (SELECT coalesce(max(position), 0) FROM events), (SELECT coalesce(max(size), 0) FROM log_tree),"
    " (SELECT coalesce(max(size), 0) FROM log_checkpoints), (SELECT size FROM log_attested)"
)
_PUT_CHECKPOINT = (
    "INSERT INTO log_checkpoints (size, root, note, signed_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (size) DO UPDATE SET note = excluded.note, signed_at = excluded.signed_at"
)
_PUT_KEY = (
    "INSERT INTO log_keys (verifier, first_size, first_used_at) VALUES (?, ?, ?) ON CONFLICT (verifier) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class LogSizes:
    """How far the log has come, its tree, and the checkpoints; ``attested``: when its orders were hashed, if ever."""

    head: int
    tree: int
    checkpoint: int
    attested: int | None = None


def log_sizes(database: Database) -> LogSizes:
    """How far everything is now. Raises StorageUnavailable."""
    with database.read() as cursor:
        return LogSizes(*cursor.execute(_SIZES)[0])


class Follower:
    """Keeps the tree, and signs checkpoints of it with ``signers``; without any it signs nothing.

    ``reached`` is told what has been done, so that tests can end the process there.
    """

    def __init__(
        self,
        database: Database,
        signers: Sequence[SignerKey],
        origin: str,
        *,
        clock: Clock,
        sign_every: timedelta = timedelta(seconds=0.5),
        batch: int = BATCH,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._views = LiveViews(database, VIEWS)
        self._signers = signers
        self._origin = origin
        self._clock = clock
        self._sign_every = sign_every
        self._batch = batch
        self._reached = reached
        self._signed_at: datetime | None = None
        self._keys_checked = False
        self._stored_at: str | None = None
        self._last: Checkpoint | None = None  # that this process has signed, or seen

    def step(self) -> bool:
        """Follows for one batch and signs when it is time; answers whether there may be more to follow at once.

        Raises StorageUnavailable; NotProven when the log is not the one that the tree was made from, or the tree not
        the one that was signed; MalformedProof when what is stored of the tree makes no sense.
        """
        more = self.advance()
        now = self._clock()
        if self._signers and (not more or self._signed_at is None or now - self._signed_at >= self._sign_every):
            self.sign(now)
            self._signed_at = now
        return more

    def advance(self) -> bool:
        """Appends the leaves of the next events; answers whether there may be more.

        Once it is near the log's end the orders are attested to as well, if anything is signed here.
        """
        sizes = log_sizes(self._database)
        if sizes.head < sizes.tree:
            raise NotProven(f"The log ends at {sizes.head}, and {sizes.tree} events were in it.")
        behind = sizes.head - (sizes.attested or 0)
        if self._signers and (sizes.attested is None or behind > _ANEW):
            self._attest_anew()
        elif sizes.head == sizes.tree and (behind == 0 or not self._signers):
            return False
        return with_views_in_force(lambda: self._advance(sizes.head), self._views.look_again)

    def _advance(self, head: int) -> bool:
        with self._database.transaction() as cursor:
            tree = lock_tree(cursor, self._database.dialect)
            self._reached("locked")
            if not continues(cursor, tree.size):
                raise NotProven(f"The event at position {tree.size} is not the one that was logged there.")
            attested = read_attested(cursor) if self._signers else None
            near = head - tree.size <= self._batch
            if near and attested is not None and attested.size <= tree.size:
                events = attest_since(cursor, self._views.now(), attested, tree.size)
                attested.save(cursor)
                self._reached("attested")
            else:
                events = [RecordedEvent(*row) for row in cursor.execute(_NEXT, (tree.size, self._batch))]
                near = len(events) < self._batch
            append_leaves(cursor, tree, _leaves(events, tree.size))
            self._reached("appended")
        self._reached("committed")
        return not near

    def _attest_anew(self) -> None:
        with suppress(AlreadyRunning):  # by another worker: the tree grows on meanwhile
            attest_anew(self._views)

    def sign(self, now: datetime) -> Checkpoint | None:
        """Signs the tree as it is, and stores the checkpoint; ``None`` when that was done already."""
        sizes = log_sizes(self._database)
        if sizes.head < sizes.checkpoint:
            raise NotProven(f"The log ends at {sizes.head}, and a checkpoint of {sizes.checkpoint} events was signed.")
        if sizes.tree == 0 or sizes.tree < sizes.checkpoint:  # the tree is made again, and not there yet
            return None
        if sizes.tree == sizes.checkpoint and self._keys_checked and not self._has_more_to_say(sizes):
            return None
        with self._database.transaction() as cursor:
            tree = lock_tree(cursor, self._database.dialect)
            checkpoint = Checkpoint(self._origin, tree.size, tree.root(), _extensions(cursor, tree.size))
            needed = self._needed(cursor, tree, checkpoint) and not (self._keys_checked and self._is_early(cursor, now))
            if needed:
                note = checkpoint.signed(self._signers)
                self._reached("signed")
                moment = rfc3339(now)
                cursor.execute(_PUT_CHECKPOINT, (tree.size, checkpoint.root, str(note), moment))
                cursor.executemany(_PUT_KEY, [(str(key.verifier), tree.size, moment) for key in self._signers])
                self._reached("stored")
        self._keys_checked = True
        if needed:
            self._last, self._stored_at = checkpoint, rfc3339(now)
        self._reached("published")
        return checkpoint if needed else None

    def check_origin(self) -> None:
        """Raises NotProven when this follower would sign another log than the one that was signed."""
        with self._database.read() as cursor:
            self._check_origin(latest_checkpoint(cursor))

    def _check_origin(self, found: tuple[Checkpoint, Note] | None) -> None:
        if self._signers and found is not None and found[0].origin != self._origin:
            told = f"What was signed is the log {found[0].origin}, and not {self._origin}"
            raise NotProven(f"{told}: nothing is signed. LEDGER_LOG_ORIGIN, or the key's name, has to be the former.")

    def _has_more_to_say(self, sizes: LogSizes) -> bool:
        """Whether the last checkpoint was signed before it could say anything of the orders, and now could."""
        return sizes.attested == sizes.tree and self._last is not None and not self._last.extensions

    def _needed(self, cursor: Cursor, tree: CompactRange, checkpoint: Checkpoint) -> bool:
        """Whether there is no checkpoint of the tree by all the keys that says as much as this one.

        Raises NotProven when the tree is not the last one's, grown, or the log another than the one that was signed.

        What this process saw before counts as well: a database that was set back has lost its later checkpoints, too.
        """
        found = latest_checkpoint(cursor)
        for last in (self._last, found and found[0]):
            if last and (last.size > tree.size or tree_root(node_reader(cursor), last.size) != last.root):
                raise NotProven(
                    f"The tree of {tree.size} does not continue the checkpoint of {last.size}: nothing is signed."
                )
        if found is None:
            return True
        self._check_origin(found)
        last, note = found
        self._last = last
        keys = [signer.verifier for signer in self._signers]
        signed = all(any(key.made(signature) for signature in note.signatures) for key in keys)
        says_less = len(last.extensions) < len(checkpoint.extensions)
        return last.size < tree.size or says_less or not signed

    def _is_early(self, cursor: Cursor, now: datetime) -> bool:
        """Whether another follower has signed only just now: several would sign several times as often."""
        [(latest,)] = cursor.execute("SELECT max(signed_at) FROM log_checkpoints")
        if latest is None or latest == self._stored_at:
            return False
        return bool(rfc3339(now - self._sign_every) < latest <= rfc3339(now))


def continues(cursor: Cursor, size: int) -> bool:
    """Whether the log has the last event of a tree of so many: one that was cut off and has grown again has another."""
    if size == 0:
        return True
    rows = cursor.execute(f"SELECT {COLUMNS} FROM events WHERE position = ?", (size,))
    return bool(rows) and event_leaf(RecordedEvent(*rows[0])) == read_leaf(cursor, size - 1)


def _extensions(cursor: Cursor, size: int) -> tuple[str, ...]:
    """What a checkpoint of this size says beside the root: nothing while the log is being caught up with."""
    attested = read_attested(cursor)
    return (attested.line,) if attested is not None and attested.size == size else ()


def _leaves(events: Sequence[RecordedEvent], size: int) -> list[bytes]:
    for expected, event in enumerate(events, size + 1):
        if event.position != expected:
            raise NotProven(f"Position {expected} is missing from the log.")
    return [event_leaf(event) for event in events]
