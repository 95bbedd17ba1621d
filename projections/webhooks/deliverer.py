"""Delivers webhooks: queues what is new, sends what is due, some at a time, and notes what came of it."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC
from http import HTTPStatus

from standardwebhooks import Webhook

from ledger.clock import Clock, utc_now
from ledger.errors import StorageUnavailable
from ledger.storage import Database
from ledger.storage.identity import LedgerId
from projections.webhooks.queue import Delivery, Queue
from projections.webhooks.sending import Answer, Send

AT_ONCE = 16
EACH = 4
"""Of those, what one endpoint may take up, so that a slow one leaves room for others."""

PATIENCE = 0.4
"""Seconds that a step waits for what is being sent, before it looks for more."""

_JITTER = 0.2
_log = logging.getLogger(__name__)


class Deliverer:
    """One of any number, in any number of processes; ``step`` is for one thread.

    ``reached`` is told where a delivery is, so that tests can end it there.
    """

    def __init__(
        self,
        database: Database,
        send: Send,
        *,
        clock: Clock = utc_now,
        jitter: Callable[[], float] = lambda: random.uniform(-_JITTER, _JITTER),  # noqa: S311  no secret
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._queue = Queue(database, jitter=jitter)
        self._ledger_id = LedgerId(database)
        self._send = send
        self._clock = clock
        self._executor = ThreadPoolExecutor(AT_ONCE, "webhooks")
        self._sending: dict[Future[None], str] = {}
        self._reached = reached

    def step(self) -> bool:
        """Does what there is to do now; whether there may be more soon. May raise StorageUnavailable."""
        more = self._queue.fill(self._clock())
        self._reached("filled")
        claimed = self._claim()
        for delivery in claimed:
            self._sending[self._executor.submit(self._deliver, delivery)] = delivery.endpoint
        if not self._sending:
            return more
        if not claimed:
            wait(self._sending, PATIENCE, FIRST_COMPLETED)
        for ended in [each for each in self._sending if each.done()]:
            del self._sending[ended]
            ended.result()
        return True

    def close(self) -> None:
        """Waits for what is being sent, which does not take longer than sending does."""
        self._executor.shutdown()

    def _claim(self) -> list[Delivery]:
        busy = Counter(self._sending.values())
        claimed: list[Delivery] = []
        for endpoint in sorted(self._queue.endpoints(), key=lambda each: busy[each]):
            room = min(EACH - busy[endpoint], AT_ONCE - len(self._sending) - len(claimed))
            if room > 0:
                claimed += self._queue.claim(endpoint, self._clock(), room)
        self._reached("claimed")
        return claimed

    def _deliver(self, delivery: Delivery) -> None:
        if self._clock() >= delivery.until:  # this process was held up, and another may be sending it
            return
        answer = self._send(delivery.url, self._headers(delivery), delivery.body.encode())
        self._reached("sent")
        try:
            self._note(delivery, answer)
        except StorageUnavailable as error:  # it is sent again when its lease is over
            _log.warning("what came of a webhook could not be noted: %s", error)
        self._reached("noted")

    def _note(self, delivery: Delivery, answer: Answer) -> None:
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            self._queue.delivered(delivery)
            return
        what = f"it answered {answer.status}" if answer.status else answer.error
        if answer.status == HTTPStatus.GONE:
            if self._queue.gone(delivery):
                _log.warning("webhook endpoint %s is disabled: %s", delivery.endpoint, what)
        elif self._queue.failed(delivery, what, self._clock()):
            _log.warning("a webhook of position %s to %s is given up: %s", delivery.position, delivery.endpoint, what)
        else:
            _log.info("a webhook of position %s to %s has failed: %s", delivery.position, delivery.endpoint, what)

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        """The three of the specification. The id is the same for every attempt, so that repeats can be told."""
        message, now = f"msg_{self._ledger_id()}_{delivery.endpoint}_{delivery.position}", self._clock()
        signatures = [Webhook(secret).sign(message, now.astimezone(UTC), delivery.body) for secret in delivery.secrets]
        return {
            "Content-Type": "application/json",
            "User-Agent": "order-ledger",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
