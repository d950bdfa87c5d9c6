"""``python -m bench.deciders URL BATCH SECONDS``: a lock server's store under load, without its HTTP face.

Batch after batch: as many new requests as jobs that the batch before was granted are completed, so that every decision
changes rows. Ticks once a second, as a lock server does. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from contextlib import suppress
from itertools import count
from statistics import median

import uvloop

from backend.store.port import Store, StoreLimits
from backend.wiring import Engines, EngineUrls
from wire.errors import Unavailable
from wire.messages.lock import Acquire, Acquired, Answer, Complete, Completed, Decision, Offer, Verdict
from wire.messages.outcome import Ending, Outcome

SPEC = b"s" * 200
DONE = Ending(Outcome.DONE, summary=b'{"pages": 10}')


def acquire(number: int) -> Acquire:
    """A new client's request for a new run, brought by a master with a slot for it."""
    client = secrets.token_bytes(16)
    offer = Offer(client, "r1", f"g{number % 3}", 1, "crawl", SPEC, client, 300.0, 3600.0)
    return Acquire(f"m{number % 8}", secrets.token_bytes(16), 1, [offer], 1)


def completions(answers: list[Answer]) -> list[Decision]:
    """Of all that was granted."""
    for answer in answers:
        assert isinstance(answer, Acquired) or (isinstance(answer, Completed) and answer.verdict is Verdict.OK), answer
    grants = [grant for answer in answers if isinstance(answer, Acquired) for grant in answer.grants]
    return [Complete(grant.job, grant.token, DONE) for grant in grants]


async def load_store(url: str, batch_count: int, seconds: float) -> dict[str, float]:
    """Decide for so long; figures per decision."""
    store = Engines(EngineUrls(store=url), StoreLimits()).store()
    await store.start()
    ticking = asyncio.create_task(_tick(store))
    pending = completions((await _decide(store, [acquire(number) for number in range(batch_count // 2)]))[0])
    start, decided, repeated, batch_s = time.perf_counter(), 0, 0, []
    own_s = time.process_time()
    while time.perf_counter() - start < seconds:
        decisions = [acquire(number) for number in range(batch_count // 2)] + pending
        asked_at = time.perf_counter()
        answers, repeats = await _decide(store, decisions)
        batch_s.append(time.perf_counter() - asked_at)
        pending = completions(answers)
        decided += len(decisions)
        repeated += repeats
    took_s = time.perf_counter() - start
    figures = {
        "decisions/s": decided / took_s,
        "own CPU µs each": (time.process_time() - own_s) / decided * 1e6,
        "batch ms": median(batch_s) * 1000,
        "slowest ms": max(batch_s) * 1000,
        "repeated": repeated,
    }
    await _decide(store, pending)
    ticking.cancel()
    await store.stop()
    return figures


async def _decide(store: Store, decisions: list[Decision]) -> tuple[list[Answer], int]:
    """The answers, and how often they had to be asked for again: as a lock server's client does, word for word."""
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
    print(json.dumps(uvloop.run(load_store(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
