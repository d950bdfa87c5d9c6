"""``roost store check``: each thing that can be wrong is found and said, and a store that works has nothing wrong."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench.support import services
from roost.backend.store.port import Store
from roost.backend.store.postgres.schema import function_schema
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.messages.lock import PutPart
from tests.backend.conftest import new_store as new_store
from tests.backend.conftest import server as server
from tests.backend.conftest import url as url
from tests.backend.store.contract_store import ANN, BOB, CAT, Desk, offer
from tests.backend.store.database import NewStore
from tests.backend.store.old_stores.databases import old_database
from tests.backend.store.test_conversion import sqlite_file
from tests.roost.cli.store_command import database_of, make_role, roost_store, url_as

Engine = tuple[str, Callable[[str], None]]
"""A filled store: its URL, and what runs a statement in it."""
CLEAN = "Nothing is wrong.\n"
ROWS = {
    "Nothing is granted": (
        "UPDATE clock SET ticked_at = {minutes_ago_9}",
        "No lock server has moved the clock for 9 minutes",
    ),
    "leases": (
        "UPDATE jobs SET lease_until = {minutes_ago_9} WHERE state = 'running'",
        "1 job has been without a master since",
    ),
    "waiting": (
        "UPDATE jobs SET created_at = {minutes_ago_90} WHERE state = 'waiting'",
        "1 job has been waiting for more than 10 minutes, the oldest since",
    ),
    "requests": (
        "DELETE FROM jobs WHERE state = 'done'",
        "Requests (1) have no job any more, though",
    ),
    "an empty clock": ("DELETE FROM clock", "The row of the table clock"),
}
NUMBERS = (
    "The next of the tokens would be 2, but 7 was given already, so some would be given twice.",
    "The next of the job ids would be 2, but 9 was given already, so some would be given twice.",
)


async def fill(store: Store) -> None:
    """One job that runs, one that has ended, and one that waits."""
    desk = Desk(store)
    running = await desk.grant(offer(ANN, run=b"a"))
    await store.put_part(PutPart(running.job, running.token, 0, b"part"))
    await desk.complete(await desk.grant(offer(BOB, run=b"b")))
    await desk.acquire(offer(CAT, run=b"c"), slots=0)
    await store.tick()


def damage(path: Path) -> None:
    """Overwrite some pages."""
    with path.open("r+b") as file:
        for page in range(20, path.stat().st_size // 4096, 2):
            file.seek(page * 4096)
            file.write(b"\xff" * 200)


class CheckContract:
    """What both engines find."""

    async def test_a_store_that_works_has_nothing_wrong(self, engine: Engine) -> None:
        done = await roost_store("check", url=engine[0])
        assert (done.exit_code, done.stdout) == (0, CLEAN), done.output

    @pytest.mark.parametrize("what", ROWS)
    async def test_rows_that_show_that_something_is_wrong(self, engine: Engine, what: str) -> None:
        url, sql = engine
        statement, sentence = ROWS[what]
        sql(statement)
        done = await roost_store("check", url=url)
        assert (done.exit_code, sentence in done.stdout) == (1, True), done.output
        assert len(done.stdout.splitlines()) == 1

    async def test_tokens_and_ids_that_would_be_given_twice(self, engine: Engine) -> None:
        url, sql = engine
        sql("UPDATE jobs SET token = 7 WHERE state = 'running'")
        sql("UPDATE requests SET job = 9 WHERE state = 'refused'")
        sql("INSERT INTO requests (client, request, job, gateway, epoch, state, created_at) "
            "VALUES ('a', 'r', 9, 'g', 1, 'acked', {minutes_ago_9000})")  # fmt: skip
        sql("{numbers_1}")
        done = await roost_store("check", url=url)
        assert done.exit_code == 1
        assert [line.partition(" The store was")[0] for line in done.stdout.splitlines()] == list(NUMBERS)
        assert "stop all lock servers and run `roost store restored`" in done.stdout


@pytest.mark.engines
class TestPostgres(CheckContract):
    @pytest.fixture
    async def engine(self, server: services.Postgres, url: str, new_store: NewStore) -> Engine:
        store = new_store(url)
        await store.start()
        await fill(store)
        words = {f"minutes_ago_{n}": f"now() - interval '{n} minutes'" for n in (9, 90, 9000)}
        words["numbers_1"] = "SELECT setval('tokens', 1), setval('job_ids', 1)"

        def run(text: str) -> None:
            server.sql(database_of(url), f"SET search_path = roost; {text.format(**words)}")

        run(
            "UPDATE clock SET ticked_at = now() + interval '1 hour'"
        )  # so that it does not matter how long a test takes
        return url, run

    async def test_a_role_that_may_only_read_can_look(
        self, server: services.Postgres, url: str, engine: Engine
    ) -> None:
        role = make_role(server, url)
        engine[1](f"GRANT USAGE ON SCHEMA roost TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA roost TO {role}")
        assert (await roost_store("check", url=url_as(url, role))).stdout == CLEAN

    @pytest.mark.parametrize(
        ("statement", "sentence"),
        [
            ("DROP INDEX jobs_kept", "CREATE INDEX CONCURRENTLY jobs_kept ON roost.jobs (keep_until) WHERE"),
            (
                "DROP INDEX jobs_live_run",
                "CREATE UNIQUE INDEX CONCURRENTLY jobs_live_run ON roost.jobs (kind, run_key)",
            ),
            (
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jobs_kept'::regclass",
                "REINDEX INDEX CONCURRENTLY roost.jobs_kept",
            ),
            (
                "ALTER TABLE jobs DROP CONSTRAINT jobs_kept_when_ended",
                "ALTER TABLE roost.jobs ADD CONSTRAINT jobs_kept_when_ended CHECK ((finished_at IS NULL) = (keep_until",
            ),
            (
                "ALTER TABLE jobs ADD CONSTRAINT mine CHECK (id > 0) NOT VALID",
                "ALTER TABLE roost.jobs VALIDATE CONSTRAINT mine",
            ),
            (f"DROP SCHEMA {function_schema()} CASCADE", "The functions of this version"),
            (f"DROP FUNCTION {function_schema()}.release", "are not this version's (release)"),
            (
                f"CREATE OR REPLACE FUNCTION {function_schema()}.server_time() RETURNS timestamptz "
                "LANGUAGE sql VOLATILE AS 'SELECT now()'",
                "are not this version's (server_time)",
            ),
            ("ALTER TABLE jobs SET (autovacuum_enabled = off)", "ALTER TABLE roost.jobs RESET (autovacuum_enabled)"),
            (
                "ALTER TABLE results DISABLE TRIGGER ALL; INSERT INTO results VALUES (999, 1, 0, '')",
                "Parts of results (1) belong to no job",
            ),
        ],
    )
    async def test_what_is_wrong_with_the_schema(self, engine: Engine, statement: str, sentence: str) -> None:
        url, sql = engine
        sql(statement)
        done = await roost_store("check", url=url)
        assert (done.exit_code, sentence in done.stdout) == (1, True), done.output
        assert len(done.stdout.splitlines()) == 1

    async def test_the_remedies_for_indexes_and_constraints_are_statements_that_work(
        self, server: services.Postgres, engine: Engine
    ) -> None:
        url, sql = engine
        sql("DROP INDEX jobs_kept, jobs_live_run, requests_created")
        sql("ALTER TABLE jobs DROP CONSTRAINT jobs_kept_when_ended; "
            "ALTER TABLE requests DROP CONSTRAINT requests_have_a_job_while_waiting")  # fmt: skip
        lines = (await roost_store("check", url=url)).stdout.splitlines()
        assert len(lines) == 5
        for line in lines:
            server.sql(database_of(url), line.partition(": ")[2].rstrip("."))
        assert (await roost_store("check", url=url)).stdout == CLEAN

    @pytest.mark.parametrize(
        ("statement", "sentence"),
        [
            ("", "There are no tables of Roost in this database"),
            (
                "CREATE SCHEMA roost; CREATE TABLE roost.migrations (number int, usable_from int); "
                "INSERT INTO roost.migrations VALUES (99, 99)",
                "The database was used by a newer Roost (tables 99",
            ),
        ],
    )
    async def test_tables_of_no_or_a_newer_version(
        self, server: services.Postgres, url: str, statement: str, sentence: str
    ) -> None:
        server.sql(database_of(url), statement or "SELECT 1")
        done = await roost_store("check", url=url)
        assert (done.exit_code, sentence in done.stdout) == (1, True), done.output

    async def test_tables_of_0_1(self, server: services.Postgres) -> None:
        done = await roost_store("check", url=server.url(old_database(server)))
        assert (done.exit_code, "The tables are those of an older version (number 6" in done.stdout) == (1, True)

    @pytest.mark.parametrize("name", ["fsync", "full_page_writes", "autovacuum", "track_counts"])
    async def test_settings_of_the_server(self, server: services.Postgres, engine: Engine, name: str) -> None:
        try:
            server.sql("postgres", f"ALTER SYSTEM SET {name} = off")
            server.sql("postgres", "SELECT pg_reload_conf()")
            async with asyncio.timeout(30):
                while (done := await roost_store("check", url=engine[0])).exit_code == 0:
                    pass  # until the server has read it
        finally:
            server.sql("postgres", f"ALTER SYSTEM RESET {name}")
            server.sql("postgres", "SELECT pg_reload_conf()")
        assert f"{name} is off" in done.stdout

    async def test_a_default_that_lock_servers_do_not_use_is_only_noted(
        self, server: services.Postgres, engine: Engine
    ) -> None:
        server.sql("postgres", f"ALTER DATABASE {database_of(engine[0])} SET synchronous_commit = off")
        done = await roost_store("check", url=engine[0])
        assert (done.exit_code, done.stdout.splitlines()[0][:33]) == (0, "Note: synchronous_commit is off h"), (
            done.output
        )

    @pytest.mark.slow
    async def test_asynchronous_standbys_are_only_noted(
        self, server: services.Postgres, engine: Engine, tmp_path: Path
    ) -> None:
        """What receives the log is one, as far as the server knows."""
        program, url = server._bin / "pg_receivewal", f"{server.url('postgres')}?application_name=standby"
        receiver = await asyncio.create_subprocess_exec(str(program), f"--dbname={url}", f"--directory={tmp_path}")
        try:
            async with asyncio.timeout(30):
                while "Note: All standbys" not in (done := await roost_store("check", url=engine[0])).stdout:
                    assert done.exit_code == 0, done.output
        finally:
            receiver.terminate()
            await receiver.wait()
        assert (done.exit_code, "run `roost store restored` after a failover" in done.stdout) == (0, True)

    async def test_a_clock_that_was_set_back_is_only_noted(self, engine: Engine) -> None:
        engine[1]("DELETE FROM jobs; DELETE FROM requests")
        engine[1]("UPDATE clock SET ahead = '3 hours', ticked_at = now() + interval '4 hours'")
        done = await roost_store("check", url=engine[0])
        assert (done.exit_code, "Note: The store's time is 3 hours ahead" in done.stdout) == (0, True), done.output


class TestSqlite(CheckContract):
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[Engine]:
        path = tmp_path / "jobs.db"
        store = SqliteStore(str(path))
        await store.start()
        await fill(store)
        words = {f"minutes_ago_{n}": f"unixepoch() - {n * 60}.0" for n in (9, 90, 9000)}
        words["numbers_1"] = "UPDATE clock SET last_token = 1, last_job = 1"

        def run(text: str) -> None:
            db = sqlite3.connect(path)
            db.execute(text.format(**words).replace("VALUES ('a'", "VALUES (x'61'"))
            db.commit()
            db.close()

        run("UPDATE clock SET ticked_at = now + 3600.0")
        yield f"sqlite:{path}", run
        await store.stop()

    @pytest.mark.parametrize(
        ("statement", "sentence"),
        [
            ("DROP INDEX jobs_kept", "CREATE INDEX jobs_kept ON jobs (keep_until) WHERE keep_until IS NOT NULL"),
            ("INSERT INTO results VALUES (999, 1, 0, x'')", "Parts of results (1) belong to no job"),
            ("PRAGMA user_version = 2", "has the tables of an older version (schema 2"),
            ("PRAGMA user_version = 9", "was written by a newer Roost (schema 9)"),
            ("PRAGMA user_version = 0", "There are no tables of Roost"),
        ],
    )
    async def test_what_is_wrong_with_the_file(self, engine: Engine, statement: str, sentence: str) -> None:
        url, sql = engine
        sql(statement)
        done = await roost_store("check", url=url)
        assert (done.exit_code, sentence in done.stdout) == (1, True), done.output
        assert len(done.stdout.splitlines()) == 1

    async def test_a_damaged_file(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.db"
        store = SqliteStore(str(path))
        await store.start()
        desk = Desk(store)
        await desk.acquire(*(offer(b"%16d" % n, run=b"%d" % n) for n in range(300)), slots=0)
        await store.stop()
        damage(path)
        done = await roost_store("check", url=f"sqlite:{path}")
        assert (done.exit_code, "is damaged" in done.output or "malformed" in done.output) == (1, True), done.output

    async def test_a_clock_that_is_ahead_is_only_noted(self, engine: Engine) -> None:
        for table in ("jobs", "requests", "results"):
            engine[1](f"DELETE FROM {table}")
        engine[1]("UPDATE clock SET now = now + 10900, ticked_at = now + 14400")
        done = await roost_store("check", url=engine[0])
        assert (done.exit_code, "Note: The store's time is 3 hours ahead" in done.stdout) == (0, True), done.output

    async def test_no_file_is_made_by_looking(self, tmp_path: Path) -> None:
        done = await roost_store("check", url=f"sqlite:{tmp_path / 'none.db'}")
        assert (done.exit_code, "there is no file" in done.stderr) == (1, True)
        assert os.listdir(tmp_path) == []

    async def test_a_file_of_0_1(self, tmp_path: Path) -> None:
        done = await roost_store("check", url=f"sqlite:{sqlite_file(tmp_path)}")
        assert (done.exit_code, "schema 2, this one has 3" in done.stdout) == (1, True)
