"""A line in the log for each command: what it was, what came of it and where, who asked and why, how long it took."""

from __future__ import annotations

import logging

from ledger.observer import Command, Ended, Relay, TellEnd

FACTS = "facts"
"""The attribute of a log record with what programs want to know of it, by name."""

_log = logging.getLogger("ledger.commands")


class CommandLog(Relay):
    """An Observer that writes at level info, in the thread that asked and after the commit: no other append waits."""

    def begun(self, command: Command) -> TellEnd:
        """See Observer."""
        tell_end = super().begun(command)

        def end(ended: Ended) -> None:
            tell_end(ended)
            if _log.isEnabledFor(logging.INFO):
                _log.info("%s", command.name, extra={FACTS: _facts(ended)})

        return end


def _facts(ended: Ended) -> dict[str, object]:
    """What is known of it. A lead board has a user and no order; what recorded nothing has no position."""
    result, actor, cause = ended.result, ended.command.actor, ended.command.cause
    known = {
        "outcome": ended.outcome,
        "order": ended.order_id,
        "version": None if result is None else result.version,
        "position": None if result is None else result.position,
        "user": actor.user,
        "role": actor.role.value,
        "impersonated_by": actor.impersonated_by,
        "request_id": cause.request_id,
        "stripe_event_id": cause.stripe_event_id,
        "trace_id": cause.trace_id,
        "duration_seconds": round(ended.seconds, 6),
    }
    return {name: value for name, value in known.items() if value is not None}
