"""Makes ``0.1.1.postgresql.sql``, ``0.1.1.sqlite.sql`` and ``0.1.1.json``: run it with the code of 0.1.1.

In a checkout of that version, into which this file is copied: ``python -m tests.backend.store.old_stores.make FOLDER``.
The stores have jobs and requests in every state; the JSON file says what that version answered about each.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from bench.support import services
from roost.backend.store.port import Store, StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.codes import ErrorCode
from roost.wire.messages.lock import Acknowledge, Attach, CancelRequest, Detach, GatewayPoll, Grant, PutPart, ReadParts
from roost.wire.messages.outcome import Ending, Failure, Outcome
from tests.backend.store.contract_store import Desk, offer
from tests.backend.store.database import DatabaseClock, shared_url
from tests.clock import ManualClock

FAILED = Ending(Outcome.FAILED, failure=Failure(ErrorCode.BUSY, "as its master said"))


def client(name: str) -> bytes:
    """The client whose requests have this name: 16 bytes."""
    return name.encode().ljust(16, b".")


class Filler:
    """Brings a store into all states. `asked` are the requests, as (client, request id)."""

    def __init__(self, store: Store, impatient: Store, clock: ManualClock) -> None:
        self.store, self.impatient, self.clock, self.desk = store, impatient, clock, Desk(store)
        self.asked: list[tuple[bytes, str]] = []
        self.grants: dict[str, Grant] = {}

    def offer(self, name: str, run: str = "", **more: Any) -> Any:
        """An offer of a new request."""
        self.asked.append((client(name), "r1"))
        return offer(client(name), run=(run or name).encode(), **more)

    async def grant(self, name: str, **more: Any) -> Grant:
        """The grant of a new job."""
        self.grants[name] = await self.desk.grant(self.offer(name, **more), running=1)
        return self.grants[name]

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1.0)
            await self.store.sweep(GatewayPoll("g1"))
            await self.store.tick()

    async def fill(self) -> None:
        """All states; the last ones last a few seconds only."""
        await self.pass_time(60)
        await self.ended()
        await self.requests()
        await self.live()

    async def ended(self) -> None:
        for name, count in (("done, no part", 0), ("done, part", 1), ("done, parts", 3)):
            grant = await self.grant(name)
            for seq in range(count):
                await self.store.put_part(PutPart(grant.job, grant.token, seq, b"%s %d" % (name.encode(), seq)))
            await self.desk.complete(grant, Ending(Outcome.DONE, summary=b"{}", parts=count))
        await self.desk.complete(await self.grant("failed"), FAILED)
        grant = await self.grant("cancelled")
        await self.desk.one(CancelRequest(client("cancelled"), "r1"))
        await self.desk.complete(grant, Ending(Outcome.CANCELLED))
        await self.desk.acquire(self.offer("gone early"), slots=0)
        await self.desk.one(CancelRequest(client("gone early"), "r1"))
        await self.desk.acquire(self.offer("expired", max_seconds=5.0), slots=0)
        await self.pass_time(7)
        impatient = Desk(self.impatient)
        grant = await self.grant("given up")
        for _ in range(2):
            await self.desk.beat(grant)
            await self.desk.lose_lease(self.clock)
            again = (await impatient.acquire(running=1)).grants
            grant = again[0] if again else grant
        await self.desk.complete(await self.grant("acked"))
        await self.desk.one(Acknowledge(client("acked"), "r1"))

    async def requests(self) -> None:
        grant = await self.grant("stays", run="shared")
        await self.desk.acquire(self.offer("left", run="shared"), slots=0)
        await self.desk.one(CancelRequest(client("left"), "r1"))
        await self.desk.acquire(offer(client("stays"), "r2", b"another"), slots=0)
        self.asked += [(client("stays"), "r2"), (client("expected"), "r1")]
        await self.desk.one(Attach(client("expected"), 3, "g1", ["r1"]))
        for name, decision in (("acked early", Acknowledge), ("left early", CancelRequest)):
            self.asked.append((client(name), "r1"))
            await self.desk.one(decision(client(name), "r1"))
        await self.desk.complete(await self.grant("grace ended"))
        await self.desk.one(Detach("g1", [client("grace ended")], 9))
        for _ in range(70):
            await self.pass_time(2)
            await self.desk.beat(grant)
        await self.desk.complete(grant)
        await self.desk.complete(await self.grant("away"))
        await self.desk.one(Detach("g1", [client("away")], 9))

    async def live(self) -> None:
        poison, held = await self.grant("poison"), await self.grant("held back")
        await self.lose(poison, held)
        (poison,) = (await self.desk.acquire(slots=1, running=1)).grants
        await self.desk.beat(poison)
        await self.pass_time(7)
        (held,) = (await self.desk.acquire(slots=2, running=1)).grants  # and the other one is held back
        for _ in range(12):
            await self.pass_time(2)
            await self.desk.beat(held)
        await self.pass_time(2)
        await self.desk.beat(await self.grant("lease lost"), 3)
        await self.pass_time(5)
        assert not (await self.desk.acquire(running=1)).grants, "held back"
        await self.desk.beat(await self.grant("running, renewed"), 2)
        await self.grant("running")
        await self.grant("running, cancelled")
        await self.desk.one(CancelRequest(client("running, cancelled"), "r1"))
        grant = await self.grant("running, with a part")
        await self.store.put_part(PutPart(grant.job, grant.token, 0, b"first"))
        await self.pass_time(1)
        assert not (await self.desk.acquire(slots=1, running=1, master="m9")).grants, "kept free for the poison job"
        await self.desk.acquire(self.offer("waiting"), self.offer("waiting too", priority=3), slots=0)
        await self.desk.acquire(self.offer("waiting, joined", run="waiting"), slots=0)
        await self.desk.one(Detach("g1", [client("waiting, joined")], 9))

    async def lose(self, *grants: Grant) -> None:
        for grant in grants:
            await self.desk.beat(grant)
        await self.pass_time(7)


async def told(store: Store, asked: list[tuple[bytes, str]]) -> dict[str, Any]:
    """What each client is told now, and the parts of its result."""
    desk, told = Desk(store), dict[str, Any]()
    for who, request in asked:
        status = await desk.status(who, request, epoch=99, gateway="g9")
        parts = []
        if status.ending is not None and status.ending.parts:
            parts = await store.read_parts(ReadParts(status.job, status.ending.token, 0, 9))
        name = f"{who.decode().rstrip('.')}/{request}"
        told[name] = {"status": msgspec.to_builtins(status), "parts": [part.decode() for part in parts]}
    return told


async def fill_sqlite(folder: Path) -> tuple[Filler, ManualClock]:
    clock = ManualClock()
    path = Path(tempfile.mkdtemp()) / "jobs.db"
    stores = [SqliteStore(str(path), limits, clock) for limits in (StoreLimits(), StoreLimits(attempts=2))]
    for store in stores:
        await store.start()
    filler = Filler(stores[0], stores[1], clock)
    await filler.fill()
    db = sqlite3.connect(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    lines = (line.replace(",Inf,", ",9e999,") for line in db.iterdump())  # infinity, in SQL
    dump = "\n".join([*lines, f"PRAGMA user_version = {version};", ""])
    db.close()
    (folder / "0.1.1.sqlite.sql").write_text(dump)
    return filler, clock


async def fill_postgres(folder: Path) -> tuple[Filler, ManualClock]:
    clock = DatabaseClock()
    await clock.start()
    stores = [PostgresStore(shared_url(), limits) for limits in (StoreLimits(), StoreLimits(attempts=2))]
    for store in stores:
        await store.start()
    filler = Filler(stores[0], stores[1], clock)
    await filler.fill()
    command = [f"{services.newest_postgresql()}/pg_dump", "--no-owner", "--no-privileges", "--inserts", "-n", "roost"]
    dump = await asyncio.to_thread(subprocess.check_output, [*command, shared_url()], text=True)
    (folder / "0.1.1.postgresql.sql").write_text(dump)
    return filler, clock


async def make(folder: Path) -> None:
    found: dict[str, Any] = {}
    for engine, fill in (("sqlite", fill_sqlite), ("postgresql", fill_postgres)):
        filler, clock = await fill(folder)
        wall_s = clock.wall()
        grants = {name: [grant.job, grant.token] for name, grant in filler.grants.items()}
        found[engine] = {"wall_s": wall_s, "grants": grants, "told": await told(filler.store, filler.asked)}
    (folder / "0.1.1.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
