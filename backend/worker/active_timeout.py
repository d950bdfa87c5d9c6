"""A timeout that does not count the time in which the process was suspended.

A process may be suspended for any time: its machine sleeps or is migrated, or the process is stopped. Such a pause must
not use up the time of a task. So time is counted in turns of a timer of the event loop; a pause counts as one turn,
however long it is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TURN_S = 0.5
"""Length of a turn of the timer: the resolution of the timeout."""


@asynccontextmanager
async def active_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError when the block has run for `seconds`, or up to a turn more, not counting suspensions."""
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
