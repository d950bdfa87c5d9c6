"""Calls an application's `on_close`, and reports callbacks that raised. Used by the writer of all connections.

A callback that raises costs one connection and nothing else: the exception is logged and counted, never passed on.
"""

from __future__ import annotations

import asyncio
import logging

from roost.gateway.api import Application, Peer
from roost.gateway.connections.counters import Counters

log = logging.getLogger(__name__)

RAISED = (Exception, asyncio.CancelledError)
"""Exceptions of a callback that cost one connection. CancelledError comes from the result of a cancelled task."""


class Callbacks:
    """Calls `on_close` of one application, and reports its callbacks that raised."""

    def __init__(self, app: Application, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    def notify_closed(self, peer: Peer, code: int, reason: str) -> None:
        """Call `on_close`; if it raises, that is only reported, because the connection is gone."""
        try:
            self._app.on_close(peer, code, reason)
        except RAISED:
            self.note_failure()

    def note_failure(self) -> None:
        """Log and count the exception that a callback raised. Must be called in an exception handler."""
        self._counters.application_errors += 1
        log.exception("application callback raised", extra={"action": "application_failed"})
