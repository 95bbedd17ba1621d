"""Where two tables of a view differ, found by the database and told row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.storage import Cursor
from ledger.storage.tables import Row, Table

_WIDE, _BEFORE = 60, 15
"""Characters of a value that are shown, and how many of them before the first difference."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not sound: what it is about and of which kind, and the whole of it in words."""

    subject: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


def differences_of(cursor: Cursor, subject: str, live: str, replayed: Table) -> Iterator[Finding]:
    """How the table named ``live`` differs from the replayed one, in the columns of that, by key; streamed."""
    keys = ", ".join(f"one.{name}" for name in replayed.key)
    same = " AND ".join(f"one.{name} = other.{name}" for name in replayed.key)
    only = f"SELECT {keys} FROM {{}} AS one WHERE NOT EXISTS (SELECT 1 FROM {{}} AS other WHERE {same}) ORDER BY {keys}"
    for row in cursor.stream(_changed(live, replayed, same)):
        key, values = row[: replayed.key_size], row[replayed.key_size :]
        yield Finding(subject, "changed", f"row {key}: {_told(_rest(replayed), values)}")
    for row in cursor.stream(only.format(live, replayed.name)):
        yield Finding(subject, "added", f"row {row} is not in the replay")
    for row in cursor.stream(only.format(replayed.name, live)):
        yield Finding(subject, "lost", f"row {row} of the replay is missing")


def changes(columns: Sequence[str], live: Row, replayed: Row) -> str | None:
    """What differs between two rows of these columns, in words; ``None`` when nothing does."""
    return _told(columns, (*live, *replayed)) if tuple(live) != tuple(replayed) else None


def _changed(live: str, replayed: Table, same: str) -> str:
    """The query of the rows that are in both: the key, then the other columns of the one, then those of the other."""
    rest = _rest(replayed)
    columns = ", ".join(f"{table}.{name}" for table, names in _parts(replayed) for name in names)
    differ = " OR ".join(f"one.{name} <> other.{name}" for name in rest)
    order = ", ".join(f"one.{name}" for name in replayed.key)
    return (
        f"SELECT {columns} FROM {live} AS one JOIN {replayed.name} AS other ON {same} WHERE {differ} ORDER BY {order}"
    )


def _parts(table: Table) -> tuple[tuple[str, Sequence[str]], ...]:
    return ("one", table.key), ("one", _rest(table)), ("other", _rest(table))


def _rest(table: Table) -> tuple[str, ...]:
    return tuple(table.columns)[table.key_size :]


def _told(columns: Sequence[str], values: Row) -> str:
    """Each column that differs: the live value -> the replay's."""
    pairs = zip(columns, values[: len(columns)], values[len(columns) :], strict=True)
    return ", ".join(
        f"{name} {_shown(one, other)} -> {_shown(other, one)}" for name, one, other in pairs if one != other
    )


def _shown(value: object, other: object) -> str:
    """The value as Python writes it; of a long text the part where it begins to differ."""
    if not isinstance(value, str) or len(value) <= _WIDE:
        return repr(value)
    pairs = zip(value, str(other), strict=False)
    differs = next((place for place, (one, two) in enumerate(pairs) if one != two), len(str(other)))
    begin = max(0, min(differs - _BEFORE, len(value) - _WIDE))
    end = begin + _WIDE
    return f"{'...' if begin else ''}{value[begin:end]!r}{'...' if end < len(value) else ''}"
