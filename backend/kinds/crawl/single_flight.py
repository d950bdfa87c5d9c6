"""Runs one piece of work for all callers that want the same result at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Work by key. The first caller does the work; callers that come while it runs share its result.

    When the first caller is cancelled, one of the others starts the work again.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[T]] = {}

    async def do(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        """Return what `start` returns, for this caller or for the first one. Raises what it raises, in all of them."""
        while (flight := self._running.get(key)) is not None:
            await asyncio.wait({flight})
            if not flight.cancelled():
                return flight.result()
        flight = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            result = await start()
        except Exception as problem:
            flight.set_exception(problem)
            flight.exception()  # marks it as retrieved: there may be no other caller
            raise
        else:
            flight.set_result(result)
            return result
        finally:
            flight.cancel()  # does nothing to one that has its result
            del self._running[key]
