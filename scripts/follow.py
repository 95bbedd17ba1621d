"""Following the log, for its transparency log, the view of the search and webhooks: in every worker, and ``follow``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
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
_log = logging.getLogger(__name__)


class Steps(Protocol):
    """A follower."""

    def step(self) -> bool:
        """Follows for one batch; answers whether there may be more to follow at once."""


def keep_following(follower: Steps, stopped: Event, name: str = TREE) -> None:
    """Follows until it is stopped. An outage is waited out, and a log that was changed is told again and again."""
    while not stopped.is_set():
        pause = POLL_SECONDS
        try:
            if follower.step():
                continue
        except StorageUnavailable as error:
            _log.warning("%s waits for the database: %s", in_sentence(name), error)
        except (NotProven, MalformedProof, PoisonEvent) as error:
            _log.error("%s stands still: %s", in_sentence(name), error)
            pause = ALARM_SECONDS
        stopped.wait(pause)


class Following(Thread):
    """A thread that follows. It ends when it is stopped, or by an error that nobody thought of, which it logs.

    Then it has ``failed``, and ``then`` is called.
    """

    def __init__(self, follower: Steps, name: str = TREE, *, then: Callable[[], object] = lambda: None) -> None:
        super().__init__(name=name, daemon=True)
        self.failed = False
        self._follower = follower
        self._then = then
        self._stopped = Event()

    def run(self) -> None:
        """Follows."""
        try:
            keep_following(self._follower, self._stopped, self.name)
        except Exception:
            _log.critical("the follower of %s has ended", in_sentence(self.name), exc_info=True)
            self.failed = True
            self._then()

    def stop(self) -> None:
        """Ends the thread after the step that it is in. One that has not begun takes none."""
        self._stopped.set()
        if self.is_alive():  # a signal ends a worker also while it starts its threads
            self.join(_STOP_SECONDS)


def beside(runtime: Runtime, then: Callable[[], object] = lambda: None) -> list[Following]:
    """What a process that keeps a ledger follows the log for, beside its transparency log; ``then``: see Following."""
    return [
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
    with build(session.settings) as runtime:
        runtime.require_ready()
        follower = runtime.follower()
        if once:
            for steps in (follower.step, runtime.search_follower().step):
                while steps():
                    pass
        else:
            stopped = Event()
            log_to_stderr(session.settings.log_level, as_json=session.settings.logs_json)
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, lambda *_: stopped.set())
            session.say("Following the log. Stop with Ctrl-C.")
            threads = beside(runtime, stopped.set)
            for thread in threads:
                thread.start()
            try:
                keep_following(follower, stopped)
            finally:
                for thread in threads:
                    thread.stop()
        sizes = runtime.services.health.log_sizes()
    session.say(f"The tree has {sizes.tree:,} events; the latest checkpoint covers {sizes.checkpoint:,}.")
    if any(thread.failed for thread in threads):
        ctx.exit(1)
