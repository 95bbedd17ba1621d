"""``export --parquet``: the log and the orders as Parquet files, a folder a month, for DuckDB, Spark and the like."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp

from ledger.errors import SettingsError
from projections import columnar
from scripts.bootstrap import build
from scripts.context import Session
from scripts.parquet_files import Arrow, write_events, write_orders
from scripts.watching import watching

_LINES_EVERY = 500_000


def export_parquet(session: Session, directory: Path) -> None:
    """Writes ``events`` and ``orders``, as they are at one moment, below the directory; it appears when all is written.

    Raises SettingsError when the directory is there already, with something in it, or can't be made.
    """
    arrow = Arrow()
    with build(session.settings) as runtime:
        runtime.require_ready()
        unfinished = _beside(directory)
        try:
            with runtime.views.snapshot() as (cursor, live):
                events, orders = columnar.head(cursor), columnar.order_count(cursor, live)
                with watching(session, events + orders, "rows", every=_LINES_EVERY) as advance:
                    for count in write_events(arrow, cursor, unfinished):
                        advance(count)
                    for count in write_orders(arrow, cursor, live, unfinished):
                        advance(count)
            unfinished.replace(directory)
        except OSError as error:
            raise SettingsError(f"{directory} can't be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    session.say(f"{events:,} events and {orders:,} orders are in {directory}.")


def _beside(directory: Path) -> Path:
    """A new directory on the file system of the one that is asked for."""
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise SettingsError(f"{directory} is there already; name a new directory, or an empty one")
        directory.parent.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise SettingsError(f"{directory} can't be made: {error.strerror}") from error
