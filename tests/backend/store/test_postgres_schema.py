"""The tables of the PostgreSQL store: made once, moved on with what is in them, and read by their indexes."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from bench.support import services
from roost.backend.store.port import StoreLimits
from roost.backend.store.postgres.schema import drop_unused, function_schema, migrate, newest, search_path, tables
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
)
from tests.backend.store.contract_store import DONE, Desk, offer
from tests.backend.store.database import NewStore

pytestmark = pytest.mark.engines

RETENTION_S = StoreLimits().retention_s


async def test_servers_that_start_at_once_make_the_tables_once(url: str, new_store: NewStore) -> None:
    stores = [new_store(url) for _ in range(5)]
    await asyncio.gather(*(store.start() for store in stores))
    connection = await asyncpg.connect(url)
    numbers = [row[0] for row in await connection.fetch("SELECT number FROM roost.migrations ORDER BY number")]
    sets = await connection.fetch("SELECT name, tables FROM roost.function_sets")
    await connection.close()
    assert numbers == list(tables())
    assert [tuple(row) for row in sets] == [(function_schema(), newest())]


async def test_p39_a_newer_database_is_refused_unless_it_says_it_may_be_used(url: str, new_store: NewStore) -> None:
    connection = await asyncpg.connect(url)
    await migrate(connection, RETENTION_S)
    await connection.execute("INSERT INTO roost.migrations (number, usable_from) VALUES (98, $1)", newest())
    await new_store(url).start()
    await connection.execute("INSERT INTO roost.migrations (number, usable_from) VALUES (99, 99)")
    await connection.close()
    with pytest.raises(Misuse, match="newer"):
        await new_store(url).start()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(server: services.Postgres, url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA roost; CREATE TABLE roost.jobs ()")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(connection, RETENTION_S)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'roost'") == 1
    await connection.execute("DROP TABLE roost.jobs")
    assert await migrate(connection, RETENTION_S)
    assert await migrate(connection, RETENTION_S) == []
    await connection.close()


async def test_p39_functions_of_another_version_stay_beside_those_of_this_one(url: str, new_store: NewStore) -> None:
    """Until nobody has used them for a week."""
    connection = await asyncpg.connect(url)
    await migrate(connection, RETENTION_S)
    await connection.execute("CREATE SCHEMA roost_other; CREATE FUNCTION roost_other.decide() RETURNS int RETURN 1")
    await connection.execute("INSERT INTO roost.function_sets (name, tables) VALUES ('roost_other', 7)")
    store = new_store(url)
    await store.start()
    assert (await Desk(store).acquire(offer(), slots=1)).grants
    assert await drop_unused(connection) == []
    await connection.execute("UPDATE roost.function_sets SET used_at = now() - interval '8 days'")
    await store.tick()
    assert len(await drop_unused(connection)) == 1
    left = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'roost%' ORDER BY 1")
    assert [row[0] for row in left] == ["roost", function_schema()]
    await connection.close()


# --- plans -------------------------------------------------------------------------------------------

MANY = 5_000
CROWD = f"""
SET search_path = {search_path()};
INSERT INTO jobs (run_key, kind, spec, rank, state, token, deadline, created_at, lease_until, nonce,
                  finished_at, keep_until)
SELECT CASE WHEN n % 3 < 2 THEN decode(md5(n::text), 'hex') END, 'crawl', '', extract(epoch FROM t),
  CASE n % 3 WHEN 0 THEN 'running' WHEN 1 THEN 'waiting' ELSE 'done' END, 1, t + later, t,
  CASE n % 3 WHEN 0 THEN t + later END, CASE n % 3 WHEN 0 THEN decode(md5(n::text), 'hex') END,
  CASE n % 3 WHEN 2 THEN t END, CASE n % 3 WHEN 2 THEN t + later END
FROM (SELECT n, server_time() AS t, interval '1 day' AS later FROM generate_series(1, {3 * MANY}) n) AS now;
INSERT INTO requests (client, request, job, gateway, epoch, state, created_at, detached_at)
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
