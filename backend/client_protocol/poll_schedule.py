"""When a gateway polls for finished requests: at regular times, and soon again after a poll that was not answered.

A poll also shows that the gateway is alive. When the store has recorded no poll for the whole grace period, it takes
the gateway for dead and its clients for disconnected (P26). So after an outage the gateway does not wait for its next
regular time. Each pause has random jitter, so that the gateways of a cluster, which all notice the end of an outage, do
not poll at once.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from roost.wire.clock import Clock
from roost.wire.errors import Unavailable

log = logging.getLogger(__name__)

AGAIN_S = 3.0
"""The longest pause after an unanswered poll; 100 gateways then send about 50 polls per second."""
SPREAD, SPREAD_AGAIN = 0.1, 2 / 3
"""The random share of a pause: regular, and after an unanswered poll."""


def pause_s(every_s: float, is_answered: bool, jitter: float) -> float:
    """Return the seconds to the next poll; `jitter` is between 0 and 1.

    Regular polls are at most `every_s` apart. After an unanswered one the next follows within `AGAIN_S`.
    """
    if is_answered:
        return every_s * (1 - SPREAD * jitter)
    return min(AGAIN_S, every_s) * (1 - SPREAD_AGAIN * jitter)


async def keep_polling(poll: Callable[[], Awaitable[object]], every_s: float, clock: Clock) -> None:
    """Call `poll` until cancelled, whatever it raises."""
    is_answered = True
    while True:
        await clock.sleep(pause_s(every_s, is_answered, random.random()))  # noqa: S311  spreads the gateways out
        try:
            await poll()
            is_answered = True
        except Unavailable as problem:
            if is_answered:
                log.warning("poll not answered", extra={"action": "sweep_missed", "reason": problem.reason})
            is_answered = False
        except Exception:  # a gateway that does not poll is taken for dead
            log.exception("poll failed", extra={"action": "sweep_failed"})
            is_answered = True
