"""Load on lock servers over HTTP, from the client that masters use, in one process.

``python -m bench.load.lock_clients full URLS CALL SECONDS``: masters that send requests back to back, with CALL
decisions in each. ``python -m bench.load.lock_clients offered URLS RATE SECONDS``: RATE single decisions a second,
independent of response times; latency counts from when a decision was due, and a decision without an answer from any
lock server has failed.

Half of the decisions are acquires of new requests, the others complete granted jobs. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from statistics import quantiles

import uvloop

from bench.load.lock_load import acquire, completions
from roost.backend.lock.client import LockClient
from roost.wire.auth import InternalSecret
from roost.wire.errors import Unavailable
from roost.wire.messages.lock import Acquired, Answer, Decision

MASTERS = 16
GROWS_S = 0.2
"""Calls of the first moments, which open the connections, are not measured."""


class LoadMasters:
    """Masters, each with its own client, and the jobs that were granted and are not completed."""

    def __init__(self, urls: Sequence[str]) -> None:
        secret = InternalSecret(os.environ["ROOST_SECRET"])
        turned = [[*urls[turn:], *urls[:turn]] for turn in range(len(urls))]
        self.clients = [LockClient(partial(turned.__getitem__, n % len(urls)), secret) for n in range(MASTERS)]
        self.granted: deque[Decision] = deque()
        self.grants: Counter[int] = Counter()
        """How often each job was granted."""
        self.took_s: list[float] = []
        self.decided = 0
        self.failed = 0

    async def start(self) -> None:
        for client in self.clients:
            await client.start()

    async def stop(self) -> None:
        for client in self.clients:
            await client.stop()

    def hear(self, answers: list[Answer]) -> list[Decision]:
        """Return the decisions that complete what was granted."""
        self.grants.update(grant.job for each in answers if isinstance(each, Acquired) for grant in each.grants)
        return completions(answers)

    async def ask_on(self, client: LockClient, call: int, until: float) -> None:
        """Send call after call; at the end complete what was granted."""
        pending: list[Decision] = []
        while True:
            is_over = time.perf_counter() >= until
            asks: list[Decision] = [*pending, *([] if is_over else map(acquire, range(call // 2)))]
            if not asks:
                return
            asked_at = time.perf_counter()
            pending = self.hear(await client.decide(asks))
            self.took_s.append(time.perf_counter() - asked_at)
            self.decided += len(asks)

    async def ask_one(self, number: int, due: float, is_measured: bool) -> None:
        """Send a single decision: complete a granted job, or else acquire a new one."""
        decision = self.granted.popleft() if number % 2 and self.granted else acquire(number)
        try:
            self.granted += self.hear(await self.clients[number % MASTERS].decide([decision]))
        except Unavailable:
            self.failed += 1
            return
        self.decided += 1
        if is_measured:
            self.took_s.append(time.perf_counter() - due)


async def full(urls: Sequence[str], call: int, seconds: float) -> dict[str, float]:
    """Send as many decisions as possible."""
    masters = LoadMasters(urls)
    await masters.start()
    start, own_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(masters.ask_on(client, call, start + seconds) for client in masters.clients))
    took_s, own_s = time.perf_counter() - start, time.process_time() - own_s
    await masters.stop()
    return {
        "decisions/s": masters.decided / took_s,
        "own CPU µs each": own_s / masters.decided * 1e6,
        "batch ms": quantiles(masters.took_s)[1] * 1000,
        "slowest ms": max(masters.took_s) * 1000,
    }


async def offered(urls: Sequence[str], rate: int, seconds: float) -> dict[str, float]:
    """Send `rate` decisions a second."""
    masters = LoadMasters(urls)
    await masters.start()
    print("started", flush=True)
    start, asking, asked = time.perf_counter(), set[asyncio.Task[None]](), 0
    while (now := time.perf_counter() - start) < seconds:
        while asked / rate <= now:
            due = start + asked / rate
            task = asyncio.create_task(masters.ask_one(asked, due, asked / rate > GROWS_S))
            asking.add(task)
            task.add_done_callback(asking.discard)
            asked += 1
        await asyncio.sleep(max(0.0, start + asked / rate - time.perf_counter()))
    await asyncio.gather(*asking)
    while masters.granted:
        await masters.ask_one(1, 0.0, is_measured=False)
    await masters.stop()
    cuts = quantiles(masters.took_s, n=1000, method="inclusive")
    return {
        "decisions/s": asked / seconds,
        "p50 ms": cuts[499] * 1000,
        "p99 ms": cuts[989] * 1000,
        "slowest ms": max(masters.took_s) * 1000,
        "failed": masters.failed,
        "granted twice": sum(count > 1 for count in masters.grants.values()),
    }


if __name__ == "__main__":
    what, places, number, length = sys.argv[1:]
    load = {"full": full, "offered": offered}[what]
    print(json.dumps(uvloop.run(load(places.split(","), int(number), float(length)))))
