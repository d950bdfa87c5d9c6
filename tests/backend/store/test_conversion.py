"""Stores of 0.1 are converted: what clients are told afterwards is what 0.1.1 told them, and work goes on.

`old_stores` has stores that 0.1.1 made, with jobs and requests in every state.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bench.support import services
from bench.support.components import launch
from bench.support.waiting import until
from roost.backend.store.port import Store, StoreLimits
from roost.backend.store.postgres.schema import SCHEMA, function_schema, newest
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.errors import Misuse
from roost.wire.messages.lock import Complete, LeaseRenewal, PutPart, Verdict
from roost.wire.messages.outcome import Ending, Outcome
from tests.backend.store.contract_store import DONE, Desk, offer
from tests.backend.store.database import NewStore
from tests.backend.store.old_stores.databases import FOLDER, asked, converted, expected, old_database
from tests.backend.store.old_stores.make import client, told
from tests.clock import ManualClock

RUNNING = ("running", "running, renewed", "running, with a part")
RETENTION_S = StoreLimits().retention_s
WAITING = """SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'roost' AND datname = current_database() AND wait_event = 'relation'"""


def sqlite_file(folder: Path, version: int = 2) -> str:
    """A file of 0.1."""
    path = folder / "jobs.db"
    db = sqlite3.connect(path)
    db.executescript((FOLDER / "0.1.1.sqlite.sql").read_text())
    if version == 1:
        db.executescript(
            "DROP INDEX jobs_reserved; ALTER TABLE jobs DROP COLUMN reserved_by;"
            "ALTER TABLE jobs DROP COLUMN reserved_until; ALTER TABLE waiters DROP COLUMN unknown_at"
        )
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    return str(path)


def old_url(server: services.Postgres, statement: str = "") -> str:
    """The URL of a database that 0.1 used."""
    return server.url(old_database(server, statement))


async def check(store: Store, old: dict[str, Any]) -> None:
    """Everybody is told what they were told before; what ran goes on, and what waits is granted."""
    assert await told(store, asked(old)) == old["told"]
    desk = Desk(store)
    for name in RUNNING:
        job, token = old["grants"][name]
        (answer,) = await store.beat([LeaseRenewal(job, token)])
        assert answer.verdict is Verdict.OK
        status = await desk.status(client(name), epoch=99)
        assert status.job == job
        assert (await desk.one(Complete(job, token + 1, DONE))).verdict is Verdict.LOST
    await finish(desk, old)
    job, token = old["grants"]["running, cancelled"]
    assert (await store.beat([LeaseRenewal(job, token)]))[0].verdict is Verdict.CANCEL
    grants = (await desk.acquire(offer(b"new" * 5 + b".", run=b"new"), slots=9, running=1)).grants
    assert sorted(grant.spec for grant in grants) == [
        b"spec of lease lost", b"spec of new", b"spec of waiting", b"spec of waiting too"
    ]  # fmt: skip
    assert grants[0].spec == b"spec of lease lost"
    before = max(token for _, token in old["grants"].values())
    assert all(grant.token > before for grant in grants)
    for grant in grants:
        assert (await desk.complete(grant, DONE)).verdict is Verdict.OK


async def finish(desk: Desk, old: dict[str, Any]) -> None:
    """The masters that had the jobs complete them, one with a part that is from before and one from now."""
    for name in RUNNING:
        job, token = old["grants"][name]
        count = 2 * (name == "running, with a part")
        if count:
            assert await desk.store.put_part(PutPart(job, token, 1, b"second")) is Verdict.OK
        ending = Ending(Outcome.DONE, summary=name.encode(), parts=count)
        assert (await desk.one(Complete(job, token, ending))).verdict is Verdict.OK
        found = await told(desk.store, [(client(name), "r1")])
        assert found[f"{name}/r1"]["status"][1] == "ended"
        assert found[f"{name}/r1"]["parts"] == ["first", "second"][:count]


class TestSqlite:
    @pytest.mark.parametrize("version", [1, 2])
    async def test_a_file_keeps_every_job_and_request(self, tmp_path: Path, version: int) -> None:
        old = expected("sqlite")
        store = SqliteStore(sqlite_file(tmp_path, version), clock=ManualClock(wall_s=old["wall_s"]))
        await store.start()
        if version == 2:
            await check(store, old)
        else:  # without its reservation, the job that wants a master for itself is reserved for this one
            assert await told(store, asked(old)) == old["told"]
        await store.stop()

    async def test_outcomes_go_when_their_retention_ends(self, tmp_path: Path) -> None:
        old = expected("sqlite")
        path = sqlite_file(tmp_path)
        store = SqliteStore(path, clock=ManualClock(wall_s=old["wall_s"] + RETENTION_S - 60))
        await store.start()
        status = await Desk(store).status(client("away"))
        assert status.ending is not None
        await store.stop()
        store = SqliteStore(path, clock=ManualClock(wall_s=old["wall_s"] + RETENTION_S + 60))
        await store.start()
        assert (await Desk(store).status(client("away"), epoch=3)).ending is None
        await store.stop()

    async def test_a_conversion_that_fails_leaves_the_file_as_it_was(self, tmp_path: Path) -> None:
        path = sqlite_file(tmp_path)
        with sqlite3.connect(path) as db:
            db.execute("UPDATE jobs SET state = 'nonsense' WHERE id = 1")
        with pytest.raises(Exception, match="CHECK constraint failed"):
            await SqliteStore(path).start()
        assert db.execute("SELECT count(*) FROM waiters").fetchone() == (len(expected("sqlite")["told"]),)
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        db.close()


@pytest.mark.engines
class TestPostgres:
    @pytest.mark.parametrize("statement", ["", "DELETE FROM roost.migrations WHERE number = 6"], ids=["6", "5"])
    async def test_a_database_keeps_every_job_and_request(
        self, server: services.Postgres, new_store: NewStore, statement: str
    ) -> None:
        old = expected("postgresql")
        url = old_url(server, statement)
        done = await converted(url, old["wall_s"])
        assert "A store of 0.1 was converted, with 21 jobs." in done
        store = new_store(url)
        await store.start()
        await check(store, old)
        connection = await asyncpg.connect(url)
        names = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'roost%' ORDER BY 1")
        await connection.close()
        assert [row[0] for row in names] == [SCHEMA, function_schema()]

    async def test_servers_that_start_at_once_convert_once(
        self, server: services.Postgres, new_store: NewStore
    ) -> None:
        url = old_url(server)
        stores = [new_store(url) for _ in range(4)]
        await asyncio.gather(*(store.start() for store in stores))
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT count(*) FROM roost.requests") == len(expected("postgresql")["told"])
        assert await connection.fetchval("SELECT max(number) FROM roost.migrations") == newest()
        await connection.close()

    async def test_an_early_version_is_refused_in_a_sentence(
        self, server: services.Postgres, new_store: NewStore
    ) -> None:
        url = old_url(server, "DELETE FROM roost.migrations WHERE number > 3")
        with pytest.raises(Misuse, match=r"early 0\.1"):
            await new_store(url).start()

    async def test_a_conversion_that_fails_leaves_the_database_as_it_was(
        self, server: services.Postgres, new_store: NewStore
    ) -> None:
        url = old_url(server, "UPDATE roost.jobs SET state = 'nonsense' WHERE id = 1")
        with pytest.raises(asyncpg.CheckViolationError):
            await new_store(url).start()
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT count(*) FROM roost.waiters") == len(expected("postgresql")["told"])
        assert await connection.fetchval("SELECT max(number) FROM roost.migrations") == 6
        await connection.close()

    @pytest.mark.parametrize("killed", ["lock server", "database"])
    async def test_a_conversion_that_is_killed_half_way_leaves_the_database_as_it_was(
        self, server: services.Postgres, new_store: NewStore, killed: str
    ) -> None:
        old = expected("postgresql")
        database = old_database(server)
        url = server.url(database)
        async with AsyncExitStack() as stack:
            holding = await asyncpg.connect(url)
            stack.callback(holding.terminate)
            await holding.execute("BEGIN; LOCK TABLE roost.results")  # jobs and requests are converted before it
            arguments = ("lock", "--port", "0", "--store", url, "--discovery", "http://127.0.0.1:9")
            lock_server = await launch(*arguments)
            stack.push_async_callback(lock_server.kill)
            await until(lambda: server.sql(database, WAITING) == "1")
            if killed == "database":
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
        await until(lambda: server.sql(database, WAITING) == "0")
        assert server.sql(database, "SELECT max(number) FROM roost.migrations") == "6"
        assert server.sql(database, "SELECT count(*) FROM roost.waiters") == str(len(old["told"]))
        assert await converted(url, old["wall_s"])
        store = new_store(url)
        await store.start()
        await check(store, old)
