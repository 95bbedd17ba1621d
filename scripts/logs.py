"""Where the commands that run on log to."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: str) -> None:
    """Lines on stderr with time, process and level."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s [%(process)d] [%(levelname)s] %(name)s: %(message)s",
        datefmt="[%Y-%m-%d %H:%M:%S %z]",
        force=True,
    )
