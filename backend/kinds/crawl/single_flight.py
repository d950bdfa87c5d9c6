"""One piece of work for all who want the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Work by key. Whoever comes first does it, for all who come while it lasts.

    When that one is cancelled, one of the others begins anew.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Future[T]] = {}

    async def do(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        """What `start` brings, or what it brings to who came first. Raises what it raises, to all of them."""
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait({flight})
            if not flight.cancelled():
                return flight.result()
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            result = await start()
        except Exception as problem:
            flight.set_exception(problem)
            flight.exception()  # nobody else may have come for it
            raise
        else:
            flight.set_result(result)
            return result
        finally:
            flight.cancel()  # does nothing to one that has its result
            del self._flights[key]
