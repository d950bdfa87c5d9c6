"""The tables of the PostgreSQL store: made once, moved on with what is in them, and read by their indexes."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from bench.support import services
from roost.backend.store.port import StoreLimits
from roost.backend.store.postgres.schema import migrate, migrations
from roost.wire.errors import Misuse
from roost.wire.messages.lock import (
    Acquire,
    Acquired,
    Attach,
    CancelRequest,
    Complete,
    Decision,
    Detach,
    Refused,
    Verdict,
)
from tests.backend.store.contract_store import DONE, Desk, offer
from tests.backend.store.database import NewStore

pytestmark = pytest.mark.engines


async def test_servers_that_start_at_once_make_the_tables_once(url: str, new_store: NewStore) -> None:
    stores = [new_store(url) for _ in range(5)]
    await asyncio.gather(*(store.start() for store in stores))
    connection = await asyncpg.connect(url)
    numbers = [row[0] for row in await connection.fetch("SELECT number FROM roost.migrations ORDER BY number")]
    await connection.close()
    assert numbers == list(range(1, max(migrations()) + 1))


def test_p15_the_shortest_grace_after_an_outage_is_the_same_in_sql_and_in_python() -> None:
    shortest = StoreLimits(grace_s=0.0).grace_after_outage_s
    assert f"greatest(r.grace_s, {shortest:g})" in migrations()[6]


async def test_a_database_of_a_newer_program_is_refused(url: str, new_store: NewStore) -> None:
    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.execute("INSERT INTO roost.migrations (number) VALUES (99)")
    await connection.close()
    with pytest.raises(Misuse, match="newer"):
        await new_store(url).start()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(server: services.Postgres, url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA roost; CREATE TABLE roost.jobs ()")
    await connection.execute("SET search_path = roost")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(connection)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'roost'") == 1
    await connection.execute("DROP TABLE roost.jobs")
    await migrate(connection)
    await connection.close()


async def test_a_database_of_an_older_program_is_moved_on_with_what_is_in_it(
    server: services.Postgres, url: str, new_store: NewStore
) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA roost; SET search_path = roost")
    await connection.execute("CREATE TABLE migrations (number integer PRIMARY KEY, applied_at timestamptz)")
    for number in (1, 2, 3, 4):
        await connection.execute(migrations()[number])
        await connection.execute("INSERT INTO migrations (number) VALUES ($1)", number)
    await connection.execute(
        "INSERT INTO jobs (run_key, kind, spec, rank, state, deadline, created_at) "
        "SELECT '', 'crawl', 'spec', now, 'waiting', now + 60, now FROM server_time() now"
    )
    await connection.close()
    store = new_store(url)
    await store.start()
    grant = await Desk(store).grant()
    assert grant.spec == b"spec"
    assert (await Desk(store).complete(grant)).verdict is Verdict.OK


# --- plans -------------------------------------------------------------------------------------------

MANY = 5_000
CROWD = f"""
SET search_path = roost;
INSERT INTO jobs (run_key, kind, spec, rank, state, token, deadline, created_at, lease_until, nonce, finished_at)
SELECT CASE WHEN n % 3 < 2 THEN decode(md5(n::text), 'hex') END, 'crawl', '', t,
  CASE n % 3 WHEN 0 THEN 'running' WHEN 1 THEN 'waiting' ELSE 'done' END, 1, t + 9999, t,
  CASE n % 3 WHEN 0 THEN t + 9999 END, CASE n % 3 WHEN 0 THEN decode(md5(n::text), 'hex') END,
  CASE n % 3 WHEN 2 THEN t END
FROM (SELECT n, server_time() AS t FROM generate_series(1, {3 * MANY}) n) AS now;
INSERT INTO waiters (client, request, job, gateway, epoch, state, created_at, detached_at)
SELECT decode(md5(id::text), 'hex'), 'r1', id, 'g1', 1, 'waiting', created_at,
  CASE WHEN id % 2 = 0 THEN created_at END FROM jobs;
INSERT INTO results SELECT id, 1, n, '' FROM jobs, generate_series(1, 2) n WHERE state = 'done';
"""
ROWS_READ = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = 'roost'"


@pytest.mark.parametrize("statistics", ["SELECT 1", "VACUUM ANALYZE"], ids=["none", "fresh"])
async def test_what_a_batch_reads_does_not_grow_with_what_is_stored(
    server: services.Postgres, new_store: NewStore, statistics: str
) -> None:
    """Also on connections whose plans were made while there was nothing."""
    database = server.database()
    store = new_store(server.url(database), StoreLimits(retention_s=1e6))
    await store.start()

    async def rows_read() -> int:
        await store._decisions.fetch("SELECT pg_stat_force_next_flush()")
        return int(server.sql(database, ROWS_READ))

    async def talk(first: int) -> None:
        crowd = [b"%16d" % number for number in range(first, first + 50)]
        granted = await store.decide([Acquire("m1", b"n" + who[1:], 1, [offer(who, run=who)]) for who in crowd])
        more: list[Decision] = [Attach(who, 2, "g2", ["r1"]) for who in crowd[:10]]
        more += [Detach("g2", crowd[10:20]), *(CancelRequest(who, "r1") for who in crowd[20:30])]
        for answer in granted:
            assert isinstance(answer, Acquired)
            more += (Complete(grant.job, grant.token, DONE) for grant in answer.grants)
        assert not any(isinstance(answer, Refused) for answer in await store.decide(more))

    await talk(0)
    server.sql(database, CROWD)
    server.sql(database, statistics)
    before = await rows_read()
    await talk(50)
    assert await rows_read() - before < MANY
