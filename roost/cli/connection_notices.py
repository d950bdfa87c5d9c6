"""Messages about the connection for a waiting user: one for each outage, instead of a log line for each attempt."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from roost.client import connection


class Notices(logging.Handler):
    """A log handler that turns the connection's log records into sentences for `say`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Process a log record; records that do not matter to a user are ignored."""
        match getattr(record, "action", ""):
            case "link_over":
                self._told = False
            case "no_way" if not self._told:
                self._told = True
                self._say(f"roost: {getattr(record, 'reason', 'no connection')}; trying again")
            case "session_refused":
                self._say("roost: the server was restarted and does not know this client any more; asking again")
            case "link_restart":
                self._say(f"roost: connecting again: {getattr(record, 'reason', '')}")


@contextlib.contextmanager
def connection_notices(say: Callable[[str], None]) -> Iterator[None]:
    """Pass notices to `say` inside the block; log lines of the connection are shown only at level INFO (--verbose)."""
    logger, notices = connection.log, Notices(say)
    level, logger.propagate = logger.level, logger.isEnabledFor(logging.INFO)
    logger.addHandler(notices)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(notices)
        logger.setLevel(level)
        logger.propagate = True
