"""``roost store migrate``: the owner brings a database to this version, and lock servers work with fewer rights."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from bench.support import services
from roost.backend.store.postgres.schema import function_schema, newest
from roost.wire.messages.lock import PutPart, ReadParts, Verdict
from tests.backend.conftest import new_store as new_store
from tests.backend.conftest import server as server
from tests.backend.conftest import url as url
from tests.backend.store.contract_store import ANN, Desk, offer
from tests.backend.store.database import NewStore
from tests.backend.store.old_stores.databases import old_database
from tests.backend.store.test_conversion import sqlite_file
from tests.roost.cli.store_command import database_of, make_role, roost_store, url_as

RIGHTS = """SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type)
FROM information_schema.table_privileges WHERE grantee = $1 AND table_name = $2"""


async def start_lock_server(url: str) -> tuple[int | None, str]:
    """Exit status and last words of a lock server that cannot start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "roost", "lock", "--port", "0"),
        env=clean | {"ROOST_STORE": url, "ROOST_KEYS": "test:0123456789abcdef"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    return process.returncode, err.decode()


@pytest.mark.engines
class TestPostgres:
    async def test_the_first_time_makes_everything_and_the_second_finds_nothing_to_do(self, url: str) -> None:
        done = await roost_store("migrate", url=url)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines() == [
            f"The tables were brought to number {newest()}.",
            f"The functions of this version were created in the schema {function_schema()}.",
        ]
        done = await roost_store("migrate", url=url)
        assert (done.exit_code, done.stdout.startswith("Nothing to do: the tables are number")) == (0, True), (
            done.output
        )

    async def test_a_store_of_0_1_is_converted_after_its_size_was_said(self, server: services.Postgres) -> None:
        done = await roost_store("migrate", url=server.url(old_database(server)))
        assert done.exit_code == 0, done.output
        assert "A store of 0.1 was converted, with 21 jobs." in done.stdout
        assert "Its lock servers must have stopped." in done.stderr

    async def test_functions_that_nobody_used_for_a_week_are_dropped(self, server: services.Postgres, url: str) -> None:
        await roost_store("migrate", url=url)
        name = database_of(url)
        server.sql(name, "CREATE SCHEMA roost_old; INSERT INTO roost.function_sets VALUES ('roost_old', 7)")
        assert (await roost_store("migrate", url=url)).stdout.startswith("Nothing to do")
        server.sql(name, "UPDATE roost.function_sets SET used_at = now() - interval '8 days'")
        done = await roost_store("migrate", url=url)
        assert done.stdout == "The unused functions in the schema roost_old were dropped.\n"

    async def test_a_lock_server_whose_role_may_create_nothing_works(
        self, server: services.Postgres, url: str, new_store: NewStore
    ) -> None:
        role = make_role(server, url)
        defaults = (
            "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
            "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC"
        )
        server.sql(database_of(url), defaults)  # as a careful administrator does
        assert (await roost_store("migrate", "--grant", role, url=url)).exit_code == 0
        store = new_store(url_as(url, role))
        await store.start()
        desk = Desk(store)
        grant = await desk.grant(offer())
        assert await desk.beat(grant) is Verdict.OK
        assert await store.put_part(PutPart(grant.job, grant.token, 0, b"part")) is Verdict.OK
        assert await store.read_parts(ReadParts(grant.job, grant.token, 0, 9)) == [b"part"]
        await desk.complete(grant)
        assert (await desk.status(ANN)).ending is not None
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE roost.function_sets SET used_at = now() - interval '2 hours'")
        await store.tick()
        assert await connection.fetchval("SELECT now() - used_at < interval '1 hour' FROM roost.function_sets")
        assert await connection.fetchval(RIGHTS, role, "jobs") == "DELETE, INSERT, SELECT, UPDATE"
        assert await connection.fetchval(RIGHTS, role, "clock") == "SELECT, UPDATE"
        assert await connection.fetchval(RIGHTS, role, "migrations") == "SELECT"
        await connection.close()
        mine = await asyncpg.connect(url_as(url, role))
        for statement in ("CREATE TABLE roost.mine ()", "CREATE SCHEMA mine", "DROP TABLE roost.results"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await mine.execute(statement)
        await mine.close()

    async def test_functions_of_the_next_version_are_its_too(
        self, server: services.Postgres, url: str, new_store: NewStore
    ) -> None:
        role = make_role(server, url)
        assert (await roost_store("migrate", "--grant", role, url=url)).exit_code == 0
        server.sql(database_of(url), f"DROP SCHEMA {function_schema()} CASCADE")
        assert (await roost_store("migrate", url=url)).exit_code == 0
        store = new_store(url_as(url, role))
        await store.start()
        assert await Desk(store).grant(offer())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "state", ["empty", "of another role", "0.1", "without the functions", "functions of another role"]
    )
    async def test_a_lock_server_that_may_not_migrate_says_what_to_run(
        self, server: services.Postgres, url: str, state: str
    ) -> None:
        role = make_role(server, url)
        if state == "0.1":
            rights = f"GRANT USAGE ON SCHEMA roost TO {role}; GRANT SELECT ON roost.migrations TO {role}"
            url = server.url(old_database(server, rights))
        elif state != "empty":
            await roost_store("migrate", *(("--grant", role) if "functions" in state else ()), url=url)
        if state == "without the functions":
            server.sql(database_of(url), f"DROP SCHEMA {function_schema()} CASCADE")
        if state == "functions of another role":
            server.sql(database_of(url), f"REVOKE USAGE ON SCHEMA {function_schema()} FROM {role}")
        status, err = await start_lock_server(url_as(url, role))
        assert status == 1
        assert f"run `roost store migrate --grant {role}` as the owner of the database" in err
        assert "Traceback" not in err
        done = await roost_store("migrate", "--grant", role, url=url_as(url, role))
        assert (done.exit_code, "use the owner of the database" in done.stderr) == (1, True), done.output

    async def test_an_unknown_role_and_a_database_that_is_away_are_said_in_a_sentence(self, url: str) -> None:
        done = await roost_store("migrate", "--grant", "nobody", url=url)
        assert (done.exit_code, "there is no role 'nobody'" in done.stderr) == (1, True), done.output
        done = await roost_store("migrate", url="postgresql://roost:secret@127.0.0.1:1/roost")
        assert (done.exit_code, done.stderr.startswith("Error: store is unavailable: 127.0.0.1:1")) == (1, True)
        assert "secret" not in done.output


def statements_for_going_back() -> list[str]:
    """Those in the document, for PostgreSQL and for SQLite."""
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "upgrade.md").read_text(encoding="utf-8")
    return re.findall(r"^```sql\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.engines
def test_a_restored_database_of_0_1_goes_on_after_the_statements_in_the_document(server: services.Postgres) -> None:
    name = database_of(old_database(server))
    server.sql(name, statements_for_going_back()[0])
    assert int(server.sql(name, "SELECT min(token) FROM roost.jobs WHERE state = 'running'")) > 1e12
    assert server.sql(name, "SELECT nextval('roost.tokens') > (SELECT max(token) FROM roost.jobs)") == "t"


def test_a_restored_file_of_0_1_goes_on_after_the_statements_in_the_document(tmp_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_file(tmp_path))) as db:
        db.executescript(statements_for_going_back()[1])
        (lowest, highest) = db.execute("SELECT min(token), max(token) FROM jobs WHERE state = 'running'").fetchone()
        assert 1e12 < lowest <= highest <= db.execute("SELECT last_token FROM clock").fetchone()[0]


class TestSqlite:
    async def test_a_file_is_made_then_found_current(self, tmp_path: Path) -> None:
        url = f"sqlite:{tmp_path / 'jobs.db'}"
        assert (await roost_store("migrate", url=url)).stdout.startswith(
            "The tables of this version (schema 3) were made"
        )
        assert (await roost_store("migrate", url=url)).stdout.startswith("Nothing to do: ")

    @pytest.mark.parametrize("version", [1, 2])
    async def test_a_file_of_0_1_is_converted(self, tmp_path: Path, version: int) -> None:
        done = await roost_store("migrate", url=f"sqlite:{sqlite_file(tmp_path, version)}")
        assert f"was converted from schema {version}, of 0.1, to schema 3" in done.stdout

    async def test_what_cannot_be_is_said(self, tmp_path: Path) -> None:
        done = await roost_store("migrate", "--grant", "somebody", url=f"sqlite:{tmp_path / 'jobs.db'}")
        assert (done.exit_code, "a file has no roles" in done.stderr) == (1, True)
        for wrong in ("sqlite::memory:", "mysql://h/d", "sqlite:"):
            done = await roost_store("migrate", url=wrong)
            assert (done.exit_code, "no engine for store URL" in done.stderr) == (2, True)
        (tmp_path / "text.db").write_text("not a database, but a text that is long enough to be looked at" * 9)
        done = await roost_store("migrate", url=f"sqlite:{tmp_path / 'text.db'}")
        assert (done.exit_code, "file is not a database" in done.stderr) == (1, True)
