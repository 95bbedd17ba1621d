"""The follower that keeps the transparency log: it reads events in order of position, and signs what they come to.

Each step is one transaction that holds the tree's row: several followers take turns, and one that dies leaves the tree
of a whole step. A checkpoint is signed in a transaction of its own, of a tree that was committed before it began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.clock import Clock, rfc3339
from ledger.errors import NotProven
from ledger.storage import Cursor, Database
from ledger.storage.log import COLUMNS, RecordedEvent
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.keys import SignerKey
from ledger.transparency.leaf import event_leaf
from ledger.transparency.merkle import CompactRange, tree_root
from projections.tree import append_leaves, latest_checkpoint, lock_tree, node_reader

BATCH = 2000
"""Events of one step: milliseconds on SQLite, where appends wait for it meanwhile."""

_NEXT = f"SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?"
_SIZES = (
    "SELECT (SELECT coalesce(max(position), 0) FROM events), (SELECT coalesce(max(size), 0) FROM log_tree),"
    " (SELECT coalesce(max(size), 0) FROM log_checkpoints)"
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
    """How far the log has come, its tree, and the checkpoints."""

    head: int
    tree: int
    checkpoint: int


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
        """Appends the leaves of the next events; answers whether there may be more."""
        sizes = log_sizes(self._database)
        if sizes.head < sizes.tree:
            raise NotProven(f"The log ends at {sizes.head}, and {sizes.tree} events were in it.")
        if sizes.head == sizes.tree:
            return False
        with self._database.transaction() as cursor:
            tree = lock_tree(cursor, self._database.dialect)
            self._reached("locked")
            events = [RecordedEvent(*row) for row in cursor.execute(_NEXT, (tree.size, self._batch))]
            append_leaves(cursor, tree, _leaves(events, tree.size))
            self._reached("appended")
        self._reached("committed")
        return len(events) == self._batch

    def sign(self, now: datetime) -> Checkpoint | None:
        """Signs the tree as it is, and stores the checkpoint; ``None`` when that was done already."""
        sizes = log_sizes(self._database)
        if sizes.head < sizes.checkpoint:
            raise NotProven(f"The log ends at {sizes.head}, and a checkpoint of {sizes.checkpoint} events was signed.")
        if sizes.tree == 0 or sizes.tree < sizes.checkpoint:  # the tree is made again, and not there yet
            return None
        if sizes.tree == sizes.checkpoint and self._keys_checked:
            return None
        with self._database.transaction() as cursor:
            tree = lock_tree(cursor, self._database.dialect)
            checkpoint = Checkpoint(self._origin, tree.size, tree.root())
            needed = self._needed(cursor, tree) and not (self._keys_checked and self._is_early(cursor, now))
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

    def _needed(self, cursor: Cursor, tree: CompactRange) -> bool:
        """Whether the tree has no checkpoint of all the keys. Raises NotProven when it is not the last one's, grown.

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
        last, note = found
        self._last = last
        keys = [signer.verifier for signer in self._signers]
        signed = all(any(key.made(signature) for signature in note.signatures) for key in keys)
        return last.size < tree.size or last.origin != self._origin or not signed

    def _is_early(self, cursor: Cursor, now: datetime) -> bool:
        """Whether another follower has signed only just now: several would sign several times as often."""
        [(latest,)] = cursor.execute("SELECT max(signed_at) FROM log_checkpoints")
        if latest is None or latest == self._stored_at:
            return False
        return bool(rfc3339(now - self._sign_every) < latest <= rfc3339(now))


def _leaves(events: Sequence[RecordedEvent], size: int) -> list[bytes]:
    for expected, event in enumerate(events, size + 1):
        if event.position != expected:
            raise NotProven(f"Position {expected} is missing from the log.")
    return [event_leaf(event) for event in events]
