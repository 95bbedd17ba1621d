"""Parquet files of typed columns, a folder a month, written with pyarrow in bounded memory.

Folders are named as Hive names partitions: https://duckdb.org/docs/data/partitioning/hive_partitioning
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ledger.errors import SettingsError
from ledger.storage import Cursor
from projections import columnar
from projections.columnar import Dated
from projections.live import LiveSet

_ROWS = 16_384
"""Rows of a row group, and so held in memory for each month that is being written."""

_MONTHS = 2
"""Months that are written at a time. A log is in the order of time but for clocks that differ, and histories that were
imported; a month that comes again gets another file."""

_NO_MONTH = "__HIVE_DEFAULT_PARTITION__"


class Arrow:
    """pyarrow, and the types of the columns; raises SettingsError where the extra is not installed."""

    def __init__(self) -> None:
        try:
            arrow: Any = importlib.import_module("pyarrow")
            self.parquet: Any = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise SettingsError(f"--parquet needs the parquet extra (order-ledger[parquet]): {error}") from error
        number, text, moment = arrow.int64(), arrow.string(), arrow.timestamp("us", tz="UTC")
        line = arrow.struct([("id", number), ("name", text), ("quantity", number), ("price_in_cents", number)])
        types = {"stream": text, "type": text, "timestamp": moment, "actor_role": text, "body": text} | {
            "status": text,
            "created": moment,
            "currency": text,
            "payment_intent_id": text,
            "products": arrow.list_(line),
        }
        self._fields = {
            name: arrow.field(name, types.get(name, number))
            for name in (*columnar.EVENT_COLUMNS, *columnar.ORDER_COLUMNS)
        }
        self._arrow = arrow

    def schema(self, columns: Iterable[str], head: int) -> Any:
        """The schema of a table's files, which say in their metadata up to which position they were written."""
        metadata = {"order_ledger.head": str(head)}
        return self._arrow.schema([self._fields[name] for name in columns], metadata=metadata)

    def batch(self, rows: list[tuple[Any, ...]], schema: Any) -> Any:
        """The rows by columns."""
        columns = [
            self._arrow.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
        ]
        return self._arrow.RecordBatch.from_arrays(columns, schema=schema)


class _Month:
    """A file that is being written, and the rows of its next row group."""

    def __init__(self, arrow: Arrow, schema: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._arrow, self._schema = arrow, schema
        self._file = arrow.parquet.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """Takes a row; writes when there are enough of them."""
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._flush()

    def close(self) -> None:
        """Writes the rest."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_batch(self._arrow.batch(self._rows, self._schema))
            self._rows.clear()


def _write(arrow: Arrow, schema: Any, rows: Iterable[Dated], folder: Path) -> Iterator[int]:
    """Writes the rows into ``month=.../part-N.parquet``; yields how many more are written, now and then."""
    months: dict[str, _Month] = {}
    files: dict[str, int] = {}
    count = 0
    for count, (month, row) in enumerate(rows, 1):
        name = month or _NO_MONTH
        if name not in months:
            if len(months) == _MONTHS:
                months.pop(next(iter(months))).close()
            files[name] = files.get(name, -1) + 1
            months[name] = _Month(arrow, schema, folder / f"month={name}" / f"part-{files[name]}.parquet")
        else:
            months[name] = months.pop(name)  # the last to be closed
        months[name].add(row)
        if count % _ROWS == 0:
            yield _ROWS
    for open_month in months.values():
        open_month.close()
    yield count % _ROWS


def write_events(arrow: Arrow, cursor: Cursor, directory: Path) -> Iterator[int]:
    """Writes the log into ``events`` below the directory; yields how many more events are written, now and then."""
    schema = arrow.schema(columnar.EVENT_COLUMNS, columnar.head(cursor))
    return _write(arrow, schema, columnar.events(cursor), directory / "events")


def write_orders(arrow: Arrow, cursor: Cursor, live: LiveSet, directory: Path) -> Iterator[int]:
    """The same of ``orders``; the cursor is to be that of the events, so that both are of one moment."""
    schema = arrow.schema(columnar.ORDER_COLUMNS, columnar.head(cursor))
    return _write(arrow, schema, columnar.orders(cursor, live), directory / "orders")
