"""How long a task may take, in time in which its worker could have worked on it.

A process may stand still for any time: its machine sleeps, or is moved, or somebody stops it. What it runs is no worse
for that, so such a pause must not use up a task's time: it is counted in turns of the event loop's timer, of which a
pause takes one, however long it is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TURN_S = 0.5


@asynccontextmanager
async def active_timeout(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError when the block took so long, or up to a turn more, without what the process stood still."""
    loop = asyncio.get_running_loop()
    turns_left = math.ceil(seconds / TURN_S)
    turn: asyncio.TimerHandle | None = None

    def next_turn() -> None:
        nonlocal turns_left, turn
        if turns_left == 0:
            limit.reschedule(loop.time())
            return
        turns_left -= 1
        turn = loop.call_later(TURN_S, next_turn)

    async with asyncio.timeout(None) as limit:
        next_turn()
        try:
            yield
        finally:
            if turn is not None:
                turn.cancel()
