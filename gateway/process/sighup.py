"""Reloads the TLS certificate on SIGHUP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class Hangup:
    """A Service that calls `reload` on SIGHUP."""

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload

    async def start(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    async def drain(self) -> None:
        """Do nothing: there is nothing to drain."""

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
