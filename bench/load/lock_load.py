"""``python -m bench.load.lock_load URL BATCH LANES SECONDS``: load on a lock server's store, without HTTP.

URL names the store. LANES senders run concurrently, each on its own connection, and each sends one batch of BATCH
decisions after the other. With a BATCH of one, every decision has its own transaction, as without batching. Each batch
has as many new requests as completions of jobs that the batch before was granted, so that every decision changes rows.
The store's tick runs once a second, as in a lock server. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from statistics import median

import uvloop

from roost.backend.engines import Engines, EngineUrls
from roost.backend.store.port import Store, StoreLimits
from roost.wire.errors import Unavailable
from roost.wire.messages.lock import (
    Acquire,
    Acquired,
    Answer,
    Complete,
    Completed,
    Decision,
    Offer,
    Verdict,
)
from roost.wire.messages.outcome import Ending, Outcome

SPEC = b"s" * 200
DONE = Ending(Outcome.DONE, summary=b'{"pages": 10}')


def acquire(number: int) -> Acquire:
    """Return a client's request for a new run, from a master with a free slot."""
    client = secrets.token_bytes(16)
    offer = Offer(client, "r1", f"g{number % 3}", 1, "crawl", SPEC, client, 300.0, 3600.0)
    return Acquire(f"m{number % 8}", secrets.token_bytes(16), 1, [offer], 1)


def completions(answers: list[Answer]) -> list[Decision]:
    """Return the decisions that complete all granted jobs."""
    for answer in answers:
        assert isinstance(answer, Acquired) or (isinstance(answer, Completed) and answer.verdict is Verdict.OK), answer
    grants = [grant for answer in answers if isinstance(answer, Acquired) for grant in answer.grants]
    return [Complete(grant.job, grant.token, DONE) for grant in grants]


@dataclass
class Found:
    """The number of decisions, and how long each batch took."""

    decided: int = 0
    repeated: int = 0
    batch_s: list[float] = field(default_factory=list)


async def load_store(url: str, batch_count: int, lanes: int, seconds: float) -> dict[str, float]:
    """Send decisions for `seconds`; return figures per decision."""
    stores = [Engines(EngineUrls(store=url), StoreLimits()).store() for _ in range(lanes)]
    for store in stores:
        await store.start()
    ticking = asyncio.create_task(_tick(stores[0]))
    found = Found()
    start, own_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_load(store, batch_count, start + seconds, found) for store in stores))
    took_s = time.perf_counter() - start
    own_s = time.process_time() - own_s
    ticking.cancel()
    for store in stores:
        await store.stop()
    return {
        "decisions/s": found.decided / took_s,
        "own CPU µs each": own_s / found.decided * 1e6,
        "batch ms": median(found.batch_s) * 1000,
        "slowest ms": max(found.batch_s) * 1000,
        "repeated": found.repeated,
    }


async def _load(store: Store, batch_count: int, until: float, found: Found) -> None:
    """Send batch after batch; what one was granted is completed in the next, including one after the end."""
    pending: list[Decision] = []
    for number in count():
        is_over = time.perf_counter() >= until
        decisions = [*pending, *([] if is_over else map(acquire, range(max(1, batch_count // 2))))]
        if batch_count == 1 and pending:
            decisions = pending
        if not decisions:
            return
        asked_at = time.perf_counter()
        answers, repeats = await _decide(store, decisions)
        pending = completions(answers)
        if number and not is_over:  # the first has nothing to complete yet
            found.batch_s.append(time.perf_counter() - asked_at)
            found.decided += len(decisions)
            found.repeated += repeats


async def _decide(store: Store, decisions: list[Decision]) -> tuple[list[Answer], int]:
    """Return the answers, and how many retries were needed: the same retries as in a lock server's client."""
    for repeats in count():
        with suppress(Unavailable):
            return await store.decide(decisions), repeats
    raise AssertionError("count ends")


async def _tick(store: Store) -> None:
    while True:
        with suppress(Unavailable):
            await store.tick()
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load_store(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))))
