"""The follower on every storage: the tree of the events that are there, checkpoints of it, and what it refuses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from eventsourcing.persistence import StoredEvent

from ledger.errors import MalformedProof, NotProven
from ledger.storage.recorder import read_log
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from ledger.transparency.keys import SignerKey
from ledger.transparency.leaf import event_leaf
from ledger.transparency.merkle import CompactRange, inclusion_proof, verify_consistency, verify_inclusion
from ledger.transparency.merkle import consistency_proof as make_consistency_proof
from projections.transparency import Follower, LogSizes, log_sizes
from projections.tree import known_keys, latest_note, node_reader, read_tiles, read_tree
from tests.support.busy import EVENTS, log_key, make_busy
from tests.support.storages import Store, TickingClock

KEY = log_key()
ORIGIN = KEY.name


def follower(store: Store, *keys: SignerKey, batch: int = 2000, clock: TickingClock | None = None) -> Follower:
    return Follower(store.database, keys, ORIGIN, clock=clock or TickingClock(), batch=batch)


def follow(store: Store, *keys: SignerKey, batch: int = 2000) -> None:
    following = follower(store, *keys, batch=batch)
    while following.step():
        pass


def append(store: Store, count: int) -> None:
    first = (store.recorder.max_notification_id() or 0) + 1
    store.recorder.insert_events(
        [StoredEvent(f"s-{number}", 1, "Unrelated", b'{"n":1}') for number in range(first, first + count)]
    )


def leaves(store: Store) -> list[bytes]:
    with store.database.snapshot() as cursor:
        return [event_leaf(event) for event in read_log(cursor)]


def root_of(hashes: list[bytes]) -> bytes:
    compact = CompactRange()
    compact.extend(hashes)
    return compact.root()


def checkpoint(store: Store, *keys: SignerKey) -> Checkpoint:
    with store.database.read() as cursor:
        note = latest_note(cursor)
    assert note is not None
    return open_checkpoint(note.encode(), [key.verifier for key in keys or (KEY,)], origin=ORIGIN)


def plant(store: Store, statement: str, *parameters: object) -> None:
    with store.database.write() as cursor:
        cursor.execute(statement, parameters)


def test_the_tree_is_that_of_the_events(store: Store) -> None:
    make_busy(store)
    follow(store, KEY)

    assert log_sizes(store.database) == LogSizes(EVENTS, EVENTS, EVENTS, EVENTS)
    assert checkpoint(store).root == root_of(leaves(store))
    with store.database.read() as cursor:
        assert known_keys(cursor) == [str(KEY.verifier)]


@pytest.mark.parametrize("batch", [1, 7, 256, 1000])
def test_tiles_are_whole_whatever_the_steps(store: Store, batch: int) -> None:
    append(store, 300 if batch == 1 else 700)
    follow(store, KEY, batch=batch)
    expected = leaves(store)
    append(store, 5)
    follow(store, KEY, batch=batch)
    expected = leaves(store)

    with store.database.snapshot() as cursor:
        assert b"".join(hashes for _, hashes in read_tiles(cursor, 0)) == b"".join(expected)
        assert [len(hashes) // 32 for _, hashes in read_tiles(cursor, 0)][:-1] == [256] * (len(expected) // 256)
        assert [len(hashes) // 32 for _, hashes in read_tiles(cursor, 1)] == [len(expected) // 256]
        assert read_tree(cursor).root() == root_of(expected)
        read = node_reader(cursor)
        for index in (0, 255, 256, len(expected) - 1):
            proof = inclusion_proof(read, index, len(expected))
            verify_inclusion(expected[index], index, len(expected), proof, root_of(expected))


def test_every_checkpoint_continues_the_one_before(store: Store) -> None:
    append(store, 1)
    follow(store, KEY)
    older = checkpoint(store)
    for count in (1, 254, 1, 300):
        append(store, count)
        follow(store, KEY)
        newer = checkpoint(store)
        with store.database.read() as cursor:
            proof = make_consistency_proof(node_reader(cursor), older.size, newer.size)
        verify_consistency(older.size, newer.size, proof, older.root, newer.root)
        assert newer.size == older.size + count
        older = newer


def test_an_empty_log_has_no_checkpoint(store: Store) -> None:
    follow(store, KEY)

    assert log_sizes(store.database) == LogSizes(0, 0, 0, 0)
    with store.database.read() as cursor:
        assert latest_note(cursor) is None


def test_without_a_key_the_tree_is_kept_and_nothing_is_signed(store: Store) -> None:
    append(store, 3)
    follow(store)
    assert log_sizes(store.database) == LogSizes(3, 3, 0)

    follow(store, KEY)
    assert checkpoint(store).size == 3


def test_nothing_is_signed_twice(store: Store) -> None:
    append(store, 3)
    following = follower(store, KEY)
    following.step()
    with store.database.read() as cursor:
        before = latest_note(cursor)

    assert following.sign(TickingClock()()) is None
    assert follower(store, KEY).sign(TickingClock()()) is None
    with store.database.read() as cursor:
        assert latest_note(cursor) == before


def test_keys_are_rotated_with_both_signing_for_a_while(store: Store) -> None:
    new = log_key(seed=2)
    append(store, 3)
    follow(store, KEY)
    follow(store, KEY, new)  # no event came meanwhile
    assert checkpoint(store, KEY) == checkpoint(store, new)

    append(store, 1)
    follow(store, new)
    assert checkpoint(store, new).size == 4
    with pytest.raises(NotProven):
        checkpoint(store, KEY)
    with store.database.read() as cursor:
        assert set(known_keys(cursor)) == {str(KEY.verifier), str(new.verifier)}


def test_a_follower_that_is_behind_signs_now_and_then(store: Store) -> None:
    append(store, 10)
    following = Follower(store.database, [KEY], ORIGIN, clock=TickingClock(), batch=2, sign_every=timedelta(seconds=3))
    signed = []
    for _ in range(6):
        following.step()
        signed.append(log_sizes(store.database).checkpoint)

    assert signed == [2, 2, 2, 8, 8, 10]  # the clock goes a second forward each step


def test_several_followers_sign_no_oftener_than_one(store: Store) -> None:
    clock = TickingClock()
    followers = [
        Follower(store.database, [KEY], ORIGIN, clock=clock, sign_every=timedelta(seconds=6)) for _ in range(3)
    ]
    for follower in followers:  # each has looked at the keys
        follower.step()
    before = log_sizes(store.database).checkpoint
    for _ in range(4):
        append(store, 1)
        for follower in followers:
            follower.step()
    with store.database.read() as cursor:
        [(count,)] = cursor.execute("SELECT count(*) FROM log_checkpoints")
    assert before == 0
    assert count <= 4


def test_a_database_that_was_set_back_is_not_signed_again(store: Store) -> None:
    """Its later checkpoint is gone with its events; the process that signed it knows."""
    append(store, 4)
    clock = TickingClock()
    following = Follower(store.database, [KEY], ORIGIN, clock=clock)
    following.step()
    with store.database.write() as cursor:
        for statement in ("DELETE FROM events WHERE position > 2", "DELETE FROM log_checkpoints"):
            cursor.execute(statement)
        cursor.execute("DELETE FROM log_tiles")
        cursor.execute("DELETE FROM log_tree")
    while following.advance():
        pass
    with pytest.raises(NotProven):
        following.sign(clock())
    assert log_sizes(store.database).checkpoint == 0


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM events WHERE position > 3", "ends at 3, and 5 events were in it"),
        ("DELETE FROM events WHERE position = 6", "Position 6 is missing"),
    ],
)
def test_a_log_that_has_lost_events_is_not_followed(store: Store, statement: str, told: str) -> None:
    append(store, 5)
    follow(store, KEY)
    append(store, 3)
    plant(store, statement)

    with pytest.raises(NotProven, match=told):
        follow(store, KEY)
    assert log_sizes(store.database).tree == 5


def test_a_tree_that_does_not_continue_its_checkpoint_is_not_signed(store: Store) -> None:
    append(store, 300)
    follow(store, KEY)
    for table in ("log_tiles", "log_tree"):
        plant(store, f"DELETE FROM {table}")
    plant(store, "UPDATE events SET body = '{}' WHERE position = 7")
    append(store, 1)

    with pytest.raises(NotProven, match="does not continue the checkpoint of 300"):
        follow(store, KEY)
    assert checkpoint(store).size == 300


def test_a_log_that_was_signed_is_not_signed_as_another(store: Store) -> None:
    append(store, 3)
    follow(store, KEY)
    other = Follower(store.database, [KEY], "log.example/2", clock=TickingClock())
    for count in (0, 1):
        append(store, count)
        with pytest.raises(NotProven, match=rf"is the log {ORIGIN}, and not log\.example/2"):
            other.step()
    assert checkpoint(store).size == 3


def test_a_tree_that_is_shorter_than_its_checkpoint_is_not_signed(store: Store) -> None:
    append(store, 5)
    follow(store, KEY)
    for statement in ("DELETE FROM log_tiles", "DELETE FROM log_tree", "DELETE FROM events WHERE position > 3"):
        plant(store, statement)

    with pytest.raises(NotProven, match="ends at 3, and a checkpoint of 5 events was signed"):
        follow(store, KEY)


def test_a_tree_that_was_dropped_is_made_again(store: Store) -> None:
    append(store, 600)
    follow(store, KEY)
    before = checkpoint(store)
    for table in ("log_tiles", "log_tree"):
        plant(store, f"DELETE FROM {table}")
    append(store, 1)
    follow(store, KEY, batch=100)

    assert checkpoint(store).size == before.size + 1
    assert checkpoint(store).root == root_of(leaves(store))


def test_a_state_that_makes_no_sense_is_refused(store: Store) -> None:
    append(store, 3)
    follow(store, KEY)
    plant(store, "UPDATE log_tree SET hashes = ?", b"x")
    append(store, 1)

    with pytest.raises(MalformedProof):
        follow(store, KEY)
