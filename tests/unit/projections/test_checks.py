"""Which of the noted checks says how the ledger stands."""

from __future__ import annotations

import pytest

from projections.checks import EVERYTHING, SAMPLE, LastCheck, most_telling


def noted(*checks: tuple[str, int]) -> list[LastCheck]:
    return [
        LastCheck(subject, f"2026-01-01T00:00:{59 - place}Z", 9, found) for place, (subject, found) in enumerate(checks)
    ]


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([], None),
        ([(SAMPLE, 0), ("orders", 0)], SAMPLE),
        ([("lead_boards", 0), (EVERYTHING, 3)], EVERYTHING),
        ([("lead_boards", 0), ("orders", 1), (EVERYTHING, 0)], "orders"),
        ([("lead_boards", 0), (EVERYTHING, 0), ("orders", 1)], EVERYTHING),
        ([(SAMPLE, 0), (EVERYTHING, 0)], EVERYTHING),
    ],
)
def test_findings_come_first_until_everything_was_sound(checks: list[tuple[str, int]], expected: str | None) -> None:
    found = most_telling(noted(*checks))
    assert (found and found.subject) == expected
