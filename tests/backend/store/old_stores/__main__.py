"""``python -m tests.backend.store.old_stores``: how long a large PostgreSQL store of 0.1.1 takes to convert.

What 0.1.1 stored, with jobs and requests in every state, is copied until there are as many jobs as wanted. After the
conversion every request of every copy is asked for, every part of every result is read, and all of it is compared with
what 0.1.1 said. Then all jobs that wait are granted: their tokens must be new.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from bench.support import services
from roost.backend.store.port import Store
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.wire.messages.lock import (
    Acquire,
    Acquired,
    Attach,
    LeaseRenewal,
    ReadParts,
    RequestStatus,
    Statuses,
    Verdict,
)
from tests.backend.store.old_stores.databases import asked, converted, expected, old_database

STEP = 1000
"""By how much the numbers of jobs and tokens differ between one copy and the next."""
BATCH = 400
OTHERS = {
    "jobs": {
        "id": f"id + n * {STEP}",
        "token": f"CASE WHEN token > 0 THEN token + n * {STEP} ELSE 0 END",
        "run_key": "run_key || int4send(n)",
        "nonce": "nonce || int4send(n)",
    },
    "waiters": {"client": "client || int4send(n)", "job": f"job + n * {STEP}"},
    "results": {"job": f"job + n * {STEP}", "token": f"token + n * {STEP}"},
}
"""What differs in a copy, by table and column."""
COLUMNS = """SELECT string_agg(quote_ident(attname), ',' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = 'roost.{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
RUNNING = ("running", "running, renewed", "running, with a part")


def copy(server: services.Postgres, database: str, copies: int) -> None:
    """Add copies of all rows."""
    for table, others in OTHERS.items():
        names = server.sql(database, COLUMNS.format(table=table)).split(",")
        values = ", ".join(others.get(name, name) for name in names)
        server.sql(
            database,
            f"INSERT INTO roost.{table} ({', '.join(names)}) "
            f"SELECT {values} FROM roost.{table}, generate_series(1, {copies}) n",
        )
    server.sql(database, "SELECT setval('roost.job_ids', max(id)), setval('roost.tokens', max(token)) FROM roost.jobs")


class Comparison:
    """Compares what a converted store says with what 0.1.1 said."""

    def __init__(self, store: Store, old: dict[str, Any], copies: int) -> None:
        self._store, self._old, self._copies = store, old, copies
        self.different: list[str] = []
        self.compared = self.parts = self.running = self.granted = 0

    async def run(self) -> None:
        """Compare all."""
        for first in range(0, self._copies + 1, BATCH):
            await self._compare_copies(range(first, min(first + BATCH, self._copies + 1)))
        await self._grant_all()

    async def _compare_copies(self, copies: Sequence[int]) -> None:
        for (who, request), (name, told) in zip(asked(self._old), self._old["told"].items(), strict=True):
            questions = [Attach(_name(who, copy), 99, "g9", [request]) for copy in copies]
            answers = await self._store.decide(list(questions))
            found = [answer.requests[0] for answer in answers if isinstance(answer, Statuses)]
            parts = await asyncio.gather(*map(self._parts, found))
            for copy, status, texts in zip(copies, found, parts, strict=True):
                self._compare(f"{name} in copy {copy}", _moved(told, copy), status, texts)
        renewals = [
            LeaseRenewal(job + copy * STEP, token + copy * STEP)
            for copy in copies
            for job, token in (self._old["grants"][name] for name in RUNNING)
        ]
        for answer, renewal in zip(await self._store.beat(renewals), renewals, strict=True):
            self.running += 1
            if answer.verdict is not Verdict.OK:
                self.different.append(f"the lease of job {renewal.job} was lost")

    async def _parts(self, status: RequestStatus) -> list[str]:
        if status.ending is None or not status.ending.parts:
            return []
        parts = await self._store.read_parts(ReadParts(status.job, status.ending.token, 0, 9))
        return [part.decode() for part in parts]

    def _compare(self, name: str, told: dict[str, Any], status: RequestStatus, parts: list[str]) -> None:
        self.compared += 1
        self.parts += len(parts)
        now = {"status": msgspec.to_builtins(status), "parts": parts}
        if now != told:
            self.different.append(f"{name}: {told} before, {now} now")

    async def _grant_all(self) -> None:
        """Jobs that wait are granted once each, under tokens that 0.1.1 did not give."""
        most = max(token for _, token in self._old["grants"].values()) + self._copies * STEP
        slots = self._copies + 1 + BATCH  # of each copy, one job is only for a master that runs nothing else
        tokens: set[int] = set()
        for number in range(1, 10_000_000):
            (answer,) = await self._store.decide([Acquire("m1", b"again" + number.to_bytes(11, "big"), slots, [], 1)])
            if not isinstance(answer, Acquired) or not answer.grants:
                break
            for grant in answer.grants:
                if grant.token <= most or grant.token in tokens:
                    self.different.append(f"job {grant.job} was granted under the token {grant.token} again")
                tokens.add(grant.token)
        self.granted = len(tokens)


def _name(who: bytes, copy: int) -> bytes:
    return who + copy.to_bytes(4, "big") if copy else who


def _moved(told: dict[str, Any], copy: int) -> dict[str, Any]:
    """What 0.1.1 would have said about a copy: the same, with the copy's numbers."""
    request, state, job, ending = told["status"]
    if ending is not None:
        outcome, token, *rest = ending
        ending = [outcome, token and token + copy * STEP, *rest]
    return {"status": [request, state, job and job + copy * STEP, ending], "parts": told["parts"]}


async def measure(server: services.Postgres, jobs: int) -> list[str]:
    """Convert a store of at least so many jobs; return what was found, in sentences. Raises AssertionError."""
    database, old = old_database(server), expected("postgresql")
    one = int(server.sql(database, "SELECT count(*) FROM roost.jobs"))
    copies = -(-jobs // one) - 1
    copy(server, database, copies)
    start = time.perf_counter()
    done = await converted(server.url(database), old["wall_s"])
    took_s = time.perf_counter() - start
    store = PostgresStore(server.url(database))
    await store.start()
    comparison = Comparison(store, old, copies)
    await comparison.run()
    await store.stop()
    assert not comparison.different, "\n".join(comparison.different[:20])
    return [
        *done,
        f"That took {took_s:.1f} s.",
        f"{comparison.compared:,} requests have the answers and {comparison.parts:,} parts that they had before.",
        f"{comparison.running:,} leases are still held.",
        f"{comparison.granted:,} jobs that waited were granted, under new tokens.",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m tests.backend.store.old_stores", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="[100000]")
    for sentence in asyncio.run(measure(services.postgres(), parser.parse_args().jobs)):
        sys.stdout.write(f"{sentence}\n")
