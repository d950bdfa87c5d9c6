"""What becomes of the connection while somebody waits, said once for each outage instead of logged at each try."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from roost.client import connection


class Notices(logging.Handler):
    """Turns the connection's log records into sentences for `say`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        """A record has come; those that mean nothing to a user are passed over."""
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
    """Within, the connection speaks through `say`; its log lines are shown only where INFO is (--verbose)."""
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
