"""Where the commands that run on log to, and how: lines for people, or a JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

from flask import has_request_context, request
from gunicorn.glogging import Logger as GunicornLogger
from structlog.processors import JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict

from api.callers import ACTOR_KEY, AUDIT_LOG
from api.request_ids import ENVIRON_KEY
from api.traces import trace_id
from scripts.command_log import FACTS

_TEXT = "%(asctime)s [%(process)d] [%(levelname)s] %(name)s: %(message)s"
_RECORD = "_record"


class PropagatingLogger(GunicornLogger):  # type: ignore[misc]
    """Gunicorn's logger without a format of its own: its lines are written as all others."""

    def setup(self, cfg: Any) -> None:
        """Leaves the writing to the root logger."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def log_to_stderr(level: str, *, as_json: bool) -> None:
    """Lines on stderr with time, process and level; in JSON also whose request it was."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter() if as_json else _TextFormatter(_TEXT, "[%Y-%m-%d %H:%M:%S %z]"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


class _TextFormatter(logging.Formatter):
    """For people: a line's facts stand behind what it says."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name
        facts: Mapping[str, object] = getattr(record, FACTS, {})
        return super().formatMessage(record) + "".join(f" {name}={value}" for name, value in facts.items())


def _json_formatter() -> logging.Formatter:
    """In ASCII: what else somebody sends may end a line for some readers, or speak to the terminal that shows it."""
    return ProcessorFormatter(
        foreign_pre_chain=[
            add_logger_name,
            add_log_level,
            ExtraAdder(),
            TimeStamper(fmt="iso", utc=True, key="timestamp"),
            _add_process,
            _add_request,
            _spread_audit,
            _spread_facts,
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            format_exc_info,
            JSONRenderer(default=str),
        ],
    )


def _add_process(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["process"] = event[_RECORD].process
    return event


def _add_request(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Whose request it was, looked up only now that something is logged: requests pay nothing for it."""
    if has_request_context():
        actor = request.environ.get(ACTOR_KEY)
        event.update(request_id=request.environ.get(ENVIRON_KEY), method=request.method, path=request.path)
        trace = trace_id(request.environ.get("HTTP_TRACEPARENT"))
        if trace is not None:
            event["trace_id"] = trace
        if actor is not None:
            event.update(user=actor.user, role=actor.role.value)
        if request.view_args and (order := request.view_args.get("orderId", request.view_args.get("number"))):
            event.setdefault("order", order)
    return event


def _spread_audit(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The audit log's lines are JSON already: their members become the line's."""
    if event["logger"] == AUDIT_LOG:
        event.update(json.loads(event["event"]))
    return event


def _spread_facts(_logger: object, _method: str, event: EventDict) -> EventDict:
    event.update(event.pop(FACTS, {}))
    return event
