"""Arrays for PostgreSQL in its binary format, which needs no escaping: a column of rows costs microseconds to send.

The format: https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES and ``array_send`` in
the server's source: number of dimensions, whether there are nulls, the element type, then for each dimension its size
and lower bound, then each element behind its length in bytes. All integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from psycopg import Connection, DataError
from psycopg.adapt import Dumper
from psycopg.pq import Format

_INT8, _INT8_ARRAY = 20, 1016  # object ids of built-in types never change
_TEXT, _TEXT_ARRAY = 25, 1009
_HEADER = struct.Struct("!iiIii")
_INT8_ELEMENT = struct.Struct("!iq")
_LENGTH = struct.Struct("!i")


class Bigints(tuple[int, ...]):
    """A column of integers, sent as ``bigint[]``."""

    __slots__ = ()


class Texts(tuple[str, ...]):
    """A column of strings, sent as ``text[]``."""

    __slots__ = ()


class _BigintsDumper(Dumper):
    format = Format.BINARY
    oid = _INT8_ARRAY

    def dump(self, obj: Iterable[int]) -> bytes:
        try:
            return _array(_INT8, [_INT8_ELEMENT.pack(8, value) for value in obj])
        except struct.error as error:
            raise DataError(f"not a bigint: {error}") from error


class _TextsDumper(Dumper):
    format = Format.BINARY
    oid = _TEXT_ARRAY

    def dump(self, obj: Iterable[str]) -> bytes:
        encoded = [value.encode() for value in obj]
        return _array(_TEXT, [_LENGTH.pack(len(value)) + value for value in encoded])


def register_arrays(connection: Connection) -> None:
    """Teaches a connection to send Bigints and Texts."""
    connection.adapters.register_dumper(Bigints, _BigintsDumper)
    connection.adapters.register_dumper(Texts, _TextsDumper)


def _array(element_type: int, elements: list[bytes]) -> bytes:
    return _HEADER.pack(1, 0, element_type, len(elements), 1) + b"".join(elements)
