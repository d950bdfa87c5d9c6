"""Waits for a condition, with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

PATIENCE_S = 20.0


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when the condition holds. Raises TimeoutError after PATIENCE_S."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.005)


async def has_gateway(url: str) -> bool:
    """Whether discovery at `url` would send a client to a gateway now."""
    async with aiohttp.ClientSession() as http, http.get(url + "/v1/gateway") as answer:
        return answer.status == 200
