"""Following the log, for its transparency log, the view of the search and webhooks: in every worker, and ``follow``."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Protocol

import click

from ledger.errors import MalformedProof, NotProven, StorageUnavailable
from projections.health import SEARCH, TREE, WEBHOOKS, in_sentence
from projections.poison import PoisonEvent
from scripts.bootstrap import Runtime, build
from scripts.context import Session, pass_session
from scripts.logs import log_to_stderr

POLL_SECONDS = 0.4
ALARM_SECONDS = 30.0
"""How long a follower that has found the log changed waits before it looks, and says so, again."""

_STOP_SECONDS = 10.0
_ENDED_BY = frozenset({signal.SIGINT, signal.SIGTERM})
_log = logging.getLogger(__name__)


class Steps(Protocol):
    """A follower."""

    def step(self) -> bool:
        """Follows for one batch; answers whether there may be more to follow at once."""


class Following(Thread):
    """A thread that follows. An outage is waited out; where the log is not what it was, or can't be read, it ``stands``
    still, and says so again and again. It ends when it is stopped, or by an error that nobody thought of, which it
    logs: then it has ``failed``, and ``then`` is called.
    """

    def __init__(
        self,
        follower: Steps,
        name: str = TREE,
        *,
        then: Callable[[], object] = lambda: None,
        stopped: Event | None = None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.stands = False
        self.failed = False
        self.stopped = stopped or Event()
        self._follower = follower
        self._then = then

    def run(self) -> None:
        """Follows."""
        try:
            while not self.stopped.is_set():
                pause = self._pause()
                if pause:
                    self.stopped.wait(pause)
        except Exception:
            _log.critical("the follower of %s has ended", in_sentence(self.name), exc_info=True)
            self.failed = True
            self._then()

    def _pause(self) -> float:
        """Takes a step, and answers how long to wait for the next, in seconds."""
        try:
            more = self._follower.step()
        except StorageUnavailable as error:
            _log.warning("%s waits for the database: %s", in_sentence(self.name), error)
            return POLL_SECONDS
        except (NotProven, MalformedProof, PoisonEvent) as error:
            _log.error("%s stands still: %s", in_sentence(self.name), error)
            self.stands = True
            return ALARM_SECONDS
        self.stands = False
        return 0 if more else POLL_SECONDS


def stop(following: Sequence[Following]) -> None:
    """Ends each after the step that it is in, all at the same time. One that has not begun takes none."""
    for each in following:
        each.stopped.set()
    for each in following:
        if each.is_alive():  # a signal ends a worker also while it starts its threads
            each.join(_STOP_SECONDS)


def followings(runtime: Runtime, then: Callable[[], object] = lambda: None) -> list[Following]:
    """What a process that keeps a ledger follows the log for; ``then``: see Following."""
    return [
        Following(runtime.follower(), then=then),
        Following(runtime.search_follower(), SEARCH, then=then),
        Following(runtime.deliverer(), WEBHOOKS, then=then),
    ]


@click.command("follow")
@click.option("--once", is_flag=True, help="Follow what is there now, and end.")
@pass_session
@click.pass_context
def follow(ctx: click.Context, session: Session, once: bool) -> None:
    """Keep the transparency log and the view of the search, and deliver webhooks, as serve does: for a ledger that is
    not served, or beside one. With --once nothing is delivered. Ends with exit code 1 when one of these can't go on."""
    threads: list[Following] = []
    if not once:
        # To be waited for, and not handled: a handler that comes while another one runs may wait for it for ever. Now,
        # as each thread begins with this mask, those of the database included: in any other a signal ends the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDED_BY)
    with build(session.settings) as runtime:
        runtime.require_ready()
        if once:
            for steps in (runtime.follower().step, runtime.search_follower().step):
                while steps():
                    pass
        else:
            log_to_stderr(session.settings.log_level, as_json=session.settings.logs_json)
            session.say("Following the log. Stop with Ctrl-C.")
            threads = followings(runtime, lambda: os.kill(os.getpid(), signal.SIGTERM))
            for thread in threads:
                thread.start()
            signal.sigwait(_ENDED_BY)
            stop(threads)
        sizes = runtime.services.health.log_sizes()
    session.say(f"The tree has {sizes.tree:,} events; the latest checkpoint covers {sizes.checkpoint:,}.")
    if any(thread.failed for thread in threads):
        ctx.exit(1)
