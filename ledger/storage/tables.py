"""Tables that are written together with the log, described once for the schema and the writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Literal

ColumnType = Literal["bigint", "text"]
Row = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A table: columns in order, the primary key's columns first, and further indexes by their columns."""

    name: str
    columns: Mapping[str, ColumnType]
    key_size: int = 1
    indexes: tuple[tuple[str, ...], ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the primary key's columns."""
        return tuple(self.columns)[: self.key_size]

    def ddl(self) -> list[str]:
        """The statements that create the table and its indexes where they are missing."""
        columns = ", ".join(f"{name} {type} NOT NULL" for name, type in self.columns.items())
        constraints = ", ".join(
            [f"PRIMARY KEY ({', '.join(self.key)})", *(f"UNIQUE ({', '.join(names)})" for names in self.unique)]
        )
        indexes = [
            f"CREATE INDEX IF NOT EXISTS {self.name}_by_{'_'.join(index)} ON {self.name} ({', '.join(index)})"
            for index in self.indexes
        ]
        return [f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}, {constraints})", *indexes]

    def temporary_ddl(self) -> str:
        """The statement that creates it as a temporary table, without its indexes."""
        return self.ddl()[0].replace("CREATE TABLE IF NOT EXISTS", "CREATE TEMPORARY TABLE", 1)

    def insert_sql(self) -> str:
        """The statement that inserts one row."""
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({', '.join('?' * len(self.columns))})"

    def update_sql(self, columns: Sequence[str]) -> str:
        """The statement that sets these columns of one row; its parameters are their values and the key."""
        assignments = ", ".join(f"{column} = ?" for column in columns)
        return f"UPDATE {self.name} SET {assignments} WHERE {' AND '.join(f'{column} = ?' for column in self.key)}"


def marks(values: Sized) -> str:
    """A parameter's mark for each value, as they stand within parentheses: ``?, ?, ?``."""
    return ", ".join("?" * len(values))


@dataclass(slots=True)
class TableWrites:
    """What is to be written to one table: whole new rows, and new values of some columns by key.

    Each updated row holds the values of the columns it is listed under, followed by the key. A row is updated at most
    once, and never in the writes that insert it.
    """

    table: Table
    inserts: list[Row] = field(default_factory=list)
    updates: dict[tuple[str, ...], list[Row]] = field(default_factory=dict)
