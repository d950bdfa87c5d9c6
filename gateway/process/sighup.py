"""SIGHUP, by which operators ask a process to read its certificate again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class Hangup:
    """A part that calls `reload` on SIGHUP."""

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload

    async def start(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    async def drain(self) -> None:
        """Nothing to let go of."""

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
