"""Logging set-up. Each event that matters to an operator is one line: a constant message and structured extras.

Use: ``log.warning("lease lost", extra={"action": "lease_lost", "job": 7})``. In the plain style the
extras follow the message as ``key=value``; in JSON lines they are fields.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that were passed to the logger as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class PlainFormatter(logging.Formatter):
    """Formats a record as ``12:00:01 WARNING roost.backend.master lease lost job=7``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return line + "".join(f" {key}={_in_one_word(value)}" for key, value in extras(record).items())


def _in_one_word(value: object) -> str:
    """The value as text; quoted when it has spaces or line breaks, so that it cannot imitate an extra or a line."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line with a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def set_up_logging(level: str = "INFO", style: str = "plain", stream: TextIO | None = None) -> None:
    """Write log records of `level` and above to `stream` (default: standard error); `style` is plain or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
