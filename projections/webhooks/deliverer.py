"""Delivers webhooks: queues what is new, sends what is due, some at a time, and notes what came of it."""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC
from http import HTTPStatus
from threading import Lock

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
    """One of any number, in any number of processes. ``step`` is for one thread, which alone asks the database; its own
    threads do nothing but send.

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
        self._sending: dict[Future[Answer | None], Delivery] = {}
        self._turns = Counter[str]()
        self._reached = reached
        self._one_at_a_time = Lock()  # whoever closes may have waited in vain for the thread that steps
        self._closed = False

    def step(self) -> bool:
        """Does what there is to do now; whether there may be more soon. May raise StorageUnavailable."""
        with self._one_at_a_time:
            return not self._closed and self._step()

    def _step(self) -> bool:
        more = _each(self._queue.behind(), lambda endpoint: self._queue.fill(endpoint, self._clock()))
        self._reached("filled")
        begun = self._begin()
        if not self._sending:
            return more
        if not begun:
            wait(self._sending, PATIENCE, FIRST_COMPLETED)
        self._note_ended()
        return True

    def close(self) -> None:
        """Waits for what is being sent, which does not take longer than sending does, and notes what came of it."""
        with self._one_at_a_time:
            self._closed = True
            self._executor.shutdown()
            self._note_ended()

    def _begin(self) -> bool:
        """Begins to send what is due, as far as there is room; whether there was any."""
        ledger_id = self._ledger_id()
        busy = Counter(each.endpoint for each in self._sending.values())

        def claim(endpoint: str) -> bool:
            room = min(EACH - busy[endpoint], AT_ONCE - len(self._sending))
            claimed = self._queue.claim(endpoint, self._clock(), room) if room > 0 else []
            self._reached("claimed")
            for delivery in claimed:  # before the next endpoint's are claimed, which may fail
                self._sending[self._executor.submit(self._deliver, delivery, ledger_id)] = delivery
            if claimed:
                self._turns[endpoint] = max(self._turns.values(), default=0) + 1
            return bool(claimed)

        # Among equals who was served longest ago: by name the same ones would come first again and again.
        return _each(sorted(self._queue.endpoints(), key=lambda each: (busy[each], self._turns[each])), claim)

    def _deliver(self, delivery: Delivery, ledger_id: str) -> Answer | None:
        """What came of it; ``None``: it was not sent, as this process was held up, and another may be sending it."""
        if self._clock() >= delivery.until:
            return None
        return self._send(delivery.url, self._headers(delivery, ledger_id), delivery.body.encode())

    def _note_ended(self) -> None:
        """Notes what came of what has been sent: of one endpoint all that has arrived in one transaction."""
        arrived: defaultdict[str, list[Delivery]] = defaultdict(list)
        for future in [future for future in self._sending if future.done()]:
            delivery, answer = self._sending.pop(future), _answer_of(future)
            if answer is None:
                continue
            if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                arrived[delivery.endpoint].append(delivery)
            else:
                with _sent_again_unless_noted():
                    self._note_failure(delivery, answer)
        for endpoint, deliveries in arrived.items():
            with _sent_again_unless_noted():
                self._queue.delivered(endpoint, deliveries)

    def _note_failure(self, delivery: Delivery, answer: Answer) -> None:
        what = f"it answered {answer.status}" if answer.status else answer.error
        if answer.status == HTTPStatus.GONE:
            if self._queue.gone(delivery):
                _log.warning("webhook endpoint %s is disabled: %s", delivery.endpoint, what)
        elif self._queue.failed(delivery, what, self._clock()):
            _log.warning("a webhook of position %s to %s is given up: %s", delivery.position, delivery.endpoint, what)
        else:
            _log.info("a webhook of position %s to %s has failed: %s", delivery.position, delivery.endpoint, what)

    def _headers(self, delivery: Delivery, ledger_id: str) -> dict[str, str]:
        """The three of the specification. The id is the same for every attempt, so that repeats can be told."""
        message, now = f"msg_{ledger_id}_{delivery.endpoint}_{delivery.position}", self._clock()
        signatures = [Webhook(secret).sign(message, now.astimezone(UTC), delivery.body) for secret in delivery.secrets]
        return {
            "Content-Type": "application/json",
            "User-Agent": "order-ledger",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def _answer_of(future: Future[Answer | None]) -> Answer | None:
    """What nobody thought of is one webhook's failure, and not the end of all the others."""
    error = future.exception()
    if error is None:
        return future.result()
    _log.error("a webhook could not be sent", exc_info=error)
    return Answer(0, f"it could not be sent: {type(error).__name__}")


def _each(endpoints: Sequence[str], act: Callable[[str], bool]) -> bool:
    """Whether there was something to do for any of them. One whose row somebody holds for long keeps others
    waiting only where something was sent to it meanwhile, which is to be noted."""
    done = False
    for endpoint in endpoints:
        try:
            done = act(endpoint) or done
        except StorageUnavailable as error:
            _log.warning("the webhooks to %s wait for the database: %s", endpoint, error)
        except ValueError as error:  # somebody has written over its row
            _log.error("the webhooks to %s can't be queued: %s", endpoint, error)
    return done


@contextmanager
def _sent_again_unless_noted() -> Iterator[None]:
    """What can't be noted now is sent again when its lease is over, with the same id."""
    try:
        yield
    except StorageUnavailable as error:
        _log.warning("what came of a webhook could not be noted: %s", error)
