"""Verification of exported files, which needs nothing but the file, and of a ledger's own database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import MalformedProof
from ledger.storage import Cursor, Database
from ledger.storage.log import RecordedEvent
from ledger.storage.recorder import read_log
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.keys import VerifierKey, encode_base64
from ledger.transparency.lines import decode_line
from ledger.transparency.merkle import HASH_SIZE, CompactRange, tree_root
from ledger.transparency.notes import Note
from ledger.transparency.tiles import TILE_SIZE, TILE_WIDTH, tile_root
from projections.audit import Audit, Findings, check_witnesses, open_checkpoints
from projections.digest import digest_of_view
from projections.live import LiveViews
from projections.store import VIEWS
from projections.tree import known_keys, latest_cosigned, node_reader, read_tile, read_tiles, read_tree

Notes = Sequence[tuple[str, bytes]]
"""Checkpoints as they are written, each with what to call it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit came to: how many events, the root over them, and the digest of so many orders."""

    findings: Findings
    events: int
    root: bytes
    orders: int
    digest: str

    def lines(self) -> list[str]:
        """What was found out, whether or not it is sound."""
        return [
            f"events: {self.events}",
            f"root: {encode_base64(self.root)}",
            f"orders: {self.orders}, state {self.digest}",
        ]


def verify_lines(
    lines: Iterable[str], notes: Notes, keys: Collection[VerifierKey], witnesses: Sequence[VerifierKey] = ()
) -> Verdict:
    """Audits an exported log against checkpoints that one of the keys has signed, and each witness one of them."""
    findings = Findings()
    check_witnesses(notes, witnesses, findings)
    audit = Audit(open_checkpoints(notes, keys, findings), findings)
    for number, line in enumerate(lines, 1):
        try:
            event = decode_line(line)
        except MalformedProof as error:
            findings.add([f"line {number}: {error}"])
        else:
            audit.add(event)
    return _verdict(audit)


def verify_database(
    database: Database, notes: Notes, keys: Collection[VerifierKey], witnesses: Sequence[VerifierKey] = ()
) -> Verdict:
    """Audits a ledger's log against its tree, its own checkpoints and the given ones, and its orders against the log.

    Without keys, those that the database itself lists are trusted.
    """
    findings = Findings()
    with LiveViews(database, VIEWS).snapshot() as (cursor, live):
        listed = list(keys) or [VerifierKey.parse(key) for key in known_keys(cursor)]
        if listed and not keys:
            findings.remarks.append("no --key was given: the keys are those that the database itself lists")
        stored = _stored_notes(cursor, listed, findings)
        check_witnesses([*_cosigned_notes(cursor, witnesses), *notes], witnesses, findings)
        audit = Audit(open_checkpoints([*stored, *notes], listed, findings), findings)
        tree = _read_state(cursor, findings)
        leaves = _Leaves(cursor, tree.size)
        for event in read_log(cursor):
            try:
                audit.add(event)
            except TypeError:  # SQLite keeps whatever somebody puts into a column
                findings.add([f"position {event.position}: its stream, type or body is not text"])
                continue
            if leaves.differ(event.position, audit.chain.leaf):
                findings.add([f"{_name(event)}: this is not the event that was logged here"])
        if audit.chain.size < tree.size:
            findings.add([f"the log has {audit.chain.size} events, and {tree.size} were logged"])
        if keys and audit.chain.size and not stored and not notes:
            findings.add(["there is no checkpoint, and a key was given that signs them"])
        findings.add(_tree_faults(cursor, tree))
        verdict = _verdict(audit)
        view, faults = digest_of_view(cursor, live)
        findings.add(faults)
    if str(view) != verdict.digest:
        findings.add([f"the orders that are served have state {view}, the log's is {verdict.digest}: see doctor"])
    return verdict


class _Leaves:
    """The leaf hashes that are stored, by position."""

    def __init__(self, cursor: Cursor, size: int) -> None:
        self._cursor = cursor
        self._size = size
        self._tile = -1
        self._hashes = b""

    def differ(self, position: int, leaf: bytes) -> bool:
        """Whether another leaf hash than this one is stored there."""
        if position > self._size:
            return False
        tile, place = divmod(position - 1, TILE_WIDTH)
        if tile != self._tile:
            self._tile, self._hashes = tile, read_tile(self._cursor, 0, tile)
        return self._hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE] != leaf


def _stored_notes(cursor: Cursor, keys: Collection[VerifierKey], findings: Findings) -> list[tuple[str, bytes]]:
    """The checkpoints of the database that a key has signed; those of former keys are left out, but not the latest."""
    rows = cursor.execute("SELECT size, root, note FROM log_checkpoints ORDER BY size")
    notes = [(f"stored checkpoint of {size}", note.encode()) for size, _, note in rows]
    odd = (size for size, root, note in rows if not _is_of(size, root, note))
    findings.add(f"stored checkpoint of {size}: it is not of that size and root" for size in odd)
    ours = [named for named in notes[:-1] if _signed_by(named[1], keys)] + notes[-1:]
    if len(ours) < len(notes):
        findings.remarks.append(f"{len(notes) - len(ours)} stored checkpoints are of keys that were not given")
    return ours


def _cosigned_notes(cursor: Cursor, witnesses: Sequence[VerifierKey]) -> Iterator[tuple[str, bytes]]:
    """The latest checkpoint that each witness has cosigned here."""
    for witness in witnesses:
        note = latest_cosigned(cursor, str(witness))
        if note is not None:
            yield f"the checkpoint that {witness.name} has cosigned", note.encode()


def _is_of(size: int, root: bytes, note: str) -> bool:
    try:
        told = Checkpoint.parse(Note.parse(note.encode()).text)
    except MalformedProof:
        return True  # which is then found to be wrong
    return (told.size, told.root) == (size, root)


def _signed_by(note: bytes, keys: Collection[VerifierKey]) -> bool:
    try:
        signatures = Note.parse(note).signatures
    except MalformedProof:
        return True  # which is then found to be wrong
    return any(key.made(signature) for key in keys for signature in signatures)


def _read_state(cursor: Cursor, findings: Findings) -> CompactRange:
    try:
        return read_tree(cursor)
    except MalformedProof as error:
        findings.add([f"the state of the tree: {error}"])
        return CompactRange()


def _tree_faults(cursor: Cursor, tree: CompactRange) -> Iterator[str]:
    """What of the stored tree does not follow from its leaves."""
    hashes, level, below = tree.size, 0, b""
    while hashes:
        roots, found = [], 0
        for index, tile in read_tiles(cursor, level):
            expected = below[index * TILE_SIZE : (index + 1) * TILE_SIZE]
            whole = len(tile) == min(TILE_SIZE, hashes * HASH_SIZE - index * TILE_SIZE)
            if index != found or not whole or (level and tile != expected):
                yield f"tile {index} of level {level} is not that of a tree of {tree.size} events"
                return
            found += 1
            roots.append(tile_root(tile) if len(tile) == TILE_SIZE else b"")
        if found * TILE_WIDTH < hashes:
            yield f"tile {found} of level {level} is missing"
            return
        hashes, level, below = hashes // TILE_WIDTH, level + 1, b"".join(roots)
    if tree_root(node_reader(cursor), tree.size) != tree.root():
        yield "the state of the tree is not that of its tiles"


def _name(event: RecordedEvent) -> str:
    return f"position {event.position} ({event.stream} version {event.version})"


def _verdict(audit: Audit) -> Verdict:
    digest = audit.finish()
    return Verdict(audit.findings, audit.chain.size, audit.chain.root(), digest.count, str(digest))
