"""The digest of the state of all orders: what a replay comes to, and what the API serves, in one hash.

SHA-256 over one line for each order, in order of id: ``ID STATUS VERSION DOCUMENT`` and a line feed, where DOCUMENT is
the SHA-256 (hexadecimal) of the order's JSON as it is served, without ``clientSecret`` and ``status``, and without the
closing brace.
"""

from __future__ import annotations

from hashlib import sha256

from ledger.storage import Cursor
from projections.live import LiveSet

_ORDERS = "SELECT order_id, user_id, status, version, document FROM {orders} ORDER BY order_id"


def order_line(order_id: int, status: str, version: int, document: bytes) -> bytes:
    """The line of an order; ``document`` is the hash of its document."""
    return f"{order_id} {status} {version} {document.hex()}\n".encode()


class OrderDigest:
    """Takes orders by rising id; ``count`` is how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = sha256()

    def add(self, order_id: int, status: str, version: int, document: bytes) -> None:
        """Adds an order; ``document`` is the hash of its document."""
        self.count += 1
        self._hash.update(order_line(order_id, status, version, document))

    def __str__(self) -> str:
        return self._hash.hexdigest()


def digest_of_view(cursor: Cursor, live: LiveSet) -> tuple[OrderDigest, list[str]]:
    """The digest of the orders that the API serves, and what is wrong beside it; inside ``snapshot``."""
    digest, faults = OrderDigest(), []
    for order_id, user_id, status, version, document in cursor.stream(live.named(_ORDERS)):
        digest.add(order_id, status, version, sha256(document.encode()).digest())
        # The column decides who sees the order; the document only says who ordered.
        if not document.startswith(f'{{"id":{order_id},"userId":{user_id},'):
            faults.append(f"order {order_id} is shown to user {user_id}, whose order it is not")
    return digest, faults
