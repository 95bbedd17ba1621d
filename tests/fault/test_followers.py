"""Following the log while many write: every position's event exactly once, in order, and none ever appears behind."""

from __future__ import annotations

import pytest

from ledger.storage import open_database
from ledger.storage.recorder import LogRecorder
from projections.live import LiveViews
from projections.migrate import migrate
from projections.store import VIEWS
from tests.support.writers import WritersAtWork, writers

EVENTS = 200_000
PAGE = 2000


def follow(recorder: LogRecorder, at_work: WritersAtWork) -> list[tuple[str, int]]:
    """Everything that a follower sees: it asks for what comes after the last position it has, and never looks back."""
    seen: list[tuple[str, int]] = []
    while True:
        last_look = not at_work.alive()
        page = recorder.select_notifications(len(seen), PAGE, inclusive_of_start=False)
        for event in page:
            assert event.id == len(seen) + 1, "a gap, or an event that came late"
            seen.append((str(event.originator_id), event.originator_version))
        if last_look and not page:
            return seen


@pytest.mark.postgres
@pytest.mark.slow
def test_a_follower_sees_every_event_once_and_in_order(postgres_url: str) -> None:
    database = open_database(postgres_url, timeout=30)
    migrate(database)
    with writers(postgres_url, processes=4, threads=8, events=EVENTS) as at_work:
        seen = follow(LogRecorder(database, LiveViews(database, VIEWS)), at_work)
        assert at_work.failed() == []
    assert len(seen) >= EVENTS
    assert len(set(seen)) == len(seen)
    versions: dict[str, int] = {}
    for stream, version in seen:
        assert version == versions.get(stream, 0) + 1
        versions[stream] = version
    assert len(versions) == 32
    database.close()


@pytest.mark.postgres
def test_without_the_lock_the_same_writers_fail(postgres_url: str) -> None:
    """Shows that the test above can fail: positions are a primary key, so writers collide rather than leave gaps."""
    database = open_database(postgres_url, timeout=30)
    migrate(database)
    with database.write() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION ledger_head(expected bigint) RETURNS bigint LANGUAGE sql VOLATILE AS"
            " 'SELECT coalesce(max(position), 0) FROM events'"
        )
    with writers(postgres_url, processes=4, threads=8, events=EVENTS) as at_work:
        follow(LogRecorder(database, LiveViews(database, VIEWS)), at_work)
        assert any("IntegrityError" in failure for failure in at_work.failed())
    database.close()
