"""The lead board: places stay 1..n whatever is moved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.actor import Actor, Cause, Role
from ledger.errors import InvalidArrangement, MoveNotAllowed
from ledger.leads import LeadBoard, LeadMove
from tests.support.scenario import NOW, OWNER, created


def arranged(board: LeadBoard, *moves: tuple[int, int]) -> list[tuple[int, int]]:
    answer = board.arrange([LeadMove(*move) for move in moves], actor=OWNER, cause=Cause(), timestamp=NOW)
    return [(move.id, move.place) for move in answer]


def test_the_others_close_up() -> None:
    board = LeadBoard(1)
    assert arranged(board, (1, 3)) == [(2, 1), (3, 2), (1, 3)]
    assert board.arrangement == [2, 3, 1, 4]


def test_the_present_place_answers_just_that_status_and_records_nothing() -> None:
    board = LeadBoard(1)
    assert arranged(board, (1, 1)) == [(1, 1)]
    assert (board.version, board.collect_events()) == (0, [])


def test_several_moves_at_once() -> None:
    board = LeadBoard(1)
    assert arranged(board, (4, 1), (1, 4)) == [(4, 1), (1, 4)]
    assert board.arrangement == [4, 2, 3, 1]


@given(
    st.lists(
        st.permutations([1, 2, 3, 4]).flatmap(
            lambda ids: st.permutations([1, 2, 3, 4]).flatmap(
                lambda places: st.integers(1, 4).map(lambda n: list(zip(ids[:n], places[:n], strict=True)))
            )
        ),
        max_size=8,
    )
)
def test_whatever_is_moved_the_board_is_whole_and_replays(commands: list[list[tuple[int, int]]]) -> None:
    board, events = LeadBoard(1), []
    for moves in commands:
        before = list(board.arrangement)
        answer = arranged(board, *moves)
        events += board.collect_events()
        assert sorted(board.arrangement) == [1, 2, 3, 4]
        assert all(board.arrangement[place - 1] == id for id, place in moves)
        unmoved = [id for id in before if id not in dict(moves)]
        assert [id for id in board.arrangement if id in unmoved] == unmoved
        changed = {id for id, was in zip(board.arrangement, before, strict=True) if id != was}
        assert [place for _, place in answer] == sorted(place for _, place in answer)
        assert {id for id, _ in answer} == {id for id, _ in moves} | changed
    replayed = LeadBoard.project(None, events) or LeadBoard(1)
    assert (replayed.arrangement, replayed.version) == (board.arrangement, len(events))


@pytest.mark.parametrize(
    ("moves", "paths"),
    [
        ([], [""]),
        ([(1, 1)] * 5, [""]),
        ([(9, 1)], ["0.id"]),
        ([(1, 0)], ["0.statusOrder"]),
        ([(1, 5)], ["0.statusOrder"]),
        ([(1, 1), (1, 2)], ["1.id"]),
        ([(1, 1), (2, 1)], ["1.statusOrder"]),
        ([(9, 9), (0, 0)], ["0.id", "0.statusOrder", "1.id", "1.statusOrder"]),
    ],
)
def test_what_makes_no_sense_is_named_by_path(moves: list[tuple[int, int]], paths: list[str]) -> None:
    board = LeadBoard(1)
    with pytest.raises(InvalidArrangement) as refusal:
        arranged(board, *moves)
    assert list(refusal.value.errors) == paths
    assert board.collect_events() == []


def test_only_the_owner_arranges() -> None:
    with pytest.raises(MoveNotAllowed):
        LeadBoard(1).arrange([LeadMove(1, 2)], actor=Actor(2, Role.ADMIN), cause=Cause(), timestamp=NOW)


def test_a_history_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError):
        LeadBoard.project(None, [created()])
