"""Runs message handlers: one asyncio task for each delivery; when a handler raises, its message is requeued."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from roost.backend.broker.port import Delivery, Handler

log = logging.getLogger(__name__)


class Handling:
    """The running handlers of one connection."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, handler: Handler, delivery: Delivery, is_held: Callable[[], bool]) -> None:
        """Start a task that calls the handler, unless the message is no longer held when the task begins."""
        task = asyncio.get_running_loop().create_task(self._handle(handler, delivery, is_held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all running handlers except the one that called this."""
        running = self._tasks - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _handle(self, handler: Handler, delivery: Delivery, is_held: Callable[[], bool]) -> None:
        if not is_held():
            return
        try:
            await handler(delivery)
        except Exception:
            log.exception("message handler failed", extra={"action": "handler_failed", "queue": delivery.queue})
            delivery.give_back()
        except BaseException:
            delivery.give_back()
            raise
