"""Statements that every request runs: prepared once on each connection, then run in one call of libpq.

psycopg's own cursors wait for the server in Python, and let go of the interpreter's lock and fight for it again several
times a statement; libpq's blocking call does so once, which shows under many threads (docs/decisions/0018).
Connections, errors and the loading of results remain psycopg's.

Strings and arrays travel in PostgreSQL's binary format, which needs no escaping and refuses NUL where a text parameter
would end at it. Arrays: https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES and
``array_send`` in the server's source: number of dimensions, whether there are nulls, the element type, then for each
dimension its size and lower bound, then each element behind its length in bytes. All integers are big-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from psycopg import Connection, DataError, OperationalError
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from ledger.storage.tables import Row

MAX_PREPARED = 256
"""Statements kept by a connection; further ones are run without being kept."""

_INT8, _TEXT = 20, 25  # object ids of built-in types never change
_HEADER = struct.Struct("!iiIii")
_INT8_ELEMENT = struct.Struct("!iq")
_LENGTH = struct.Struct("!i")
_DONE = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
_TEXT_FORMAT, _BINARY = 0, 1


class ConnectionLost(OperationalError):
    """The connection broke, and with it the answer to what may have been done."""


class Bigints(tuple[int, ...]):
    """A column of integers, sent as ``bigint[]``."""

    __slots__ = ()


class Texts(tuple[str, ...]):
    """A column of strings, sent as ``text[]``."""

    __slots__ = ()


class PreparedConnection(Connection[Row]):
    """A psycopg connection that also runs prepared statements."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._names: dict[str, bytes] = {}

    def run(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Runs one statement, with ``?`` for parameters, outside of a transaction block; raises psycopg's errors."""
        sent = [_encoded(parameter) for parameter in parameters]
        values, formats = [value for value, _ in sent], [code for _, code in sent]
        name = self._names.get(sql) or self._prepare(sql)
        if name is None:
            result = self.pgconn.exec_params(_numbered(sql), values, None, formats)
        else:
            result = self.pgconn.exec_prepared(name, values, formats)
        self._check(result)
        if not result.ntuples:
            return []
        loader = Transformer(self)
        loader.set_pgresult(result)
        return loader.load_rows(0, result.ntuples, tuple)

    def _prepare(self, sql: str) -> bytes | None:
        if len(self._names) >= MAX_PREPARED:
            return None
        name = b"ledger_%d" % len(self._names)
        self._check(self.pgconn.prepare(name, _numbered(sql)))
        self._names[sql] = name
        return name

    def _check(self, result: PGresult) -> None:
        if result.status in _DONE:
            return
        # Without a state it is not the server's answer but libpq's own, for one that is lost; libpq's status may not
        # say so yet, so the connection is ended here.
        if result.error_field(DiagnosticField.SQLSTATE) is None or self.pgconn.status != ConnStatus.OK:
            message = self.pgconn.get_error_message()
            self.pgconn.finish()
            raise ConnectionLost(message)
        raise error_from_result(result)


def _encoded(value: object) -> tuple[bytes, int]:
    if isinstance(value, str):
        return value.encode(), _BINARY
    if isinstance(value, int):
        return b"%d" % value, _TEXT_FORMAT
    if isinstance(value, Bigints):
        return _bigints(value), _BINARY
    if isinstance(value, Texts):
        return _texts(value), _BINARY
    raise TypeError(f"{type(value).__name__} is not sent to the database")


def _bigints(column: Bigints) -> bytes:
    try:
        return _array(_INT8, [_INT8_ELEMENT.pack(8, value) for value in column])
    except struct.error as error:
        raise DataError(f"not a bigint: {error}") from error


def _texts(column: Texts) -> bytes:
    encoded = [value.encode() for value in column]
    return _array(_TEXT, [_LENGTH.pack(len(value)) + value for value in encoded])


def _array(element_type: int, elements: list[bytes]) -> bytes:
    return _HEADER.pack(1, 0, element_type, len(elements), 1) + b"".join(elements)


@lru_cache(maxsize=512)
def _numbered(sql: str) -> bytes:
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql).encode()
