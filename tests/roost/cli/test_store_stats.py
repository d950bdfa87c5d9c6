"""``roost store stats``: exact figures, and estimates where counting would take too long."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bench.support import services
from roost.backend.store.administration import Counted
from roost.backend.store.port import Store
from roost.backend.store.postgres import statistics as postgres_statistics
from roost.backend.store.sqlite import statistics as sqlite_statistics
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.cli.store_stats import lines
from roost.wire.clock import SYSTEM_CLOCK
from tests.backend.conftest import new_store as new_store
from tests.backend.conftest import server as server
from tests.backend.conftest import url as url
from tests.backend.store.database import NewStore
from tests.backend.store.test_conversion import sqlite_file
from tests.roost.cli.store_command import database_of, roost_store
from tests.roost.cli.test_store_check import fill

MANY = 60_000
CROWD = f"""
SET search_path = roost;
INSERT INTO jobs (kind, spec, rank, state, deadline, created_at, lease_until, finished_at, keep_until)
SELECT CASE WHEN n % 10 = 0 THEN 'rare' ELSE 'crawl' END, repeat('x', 300)::bytea, n,
  CASE n % 3 WHEN 0 THEN 'waiting' WHEN 1 THEN 'running' ELSE 'done' END, now(), now(),
  CASE n % 3 WHEN 1 THEN now() END, CASE n % 3 WHEN 2 THEN now() END, CASE n % 3 WHEN 2 THEN now() END
FROM generate_series(1, {MANY}) n;
INSERT INTO requests (client, request, job, gateway, epoch, state, created_at)
SELECT id::text::bytea, 'r', id, 'g', 1, 'waiting', now() FROM jobs;
INSERT INTO results SELECT id, 1, 0, repeat('y', 400)::bytea FROM jobs WHERE state = 'done';
"""


async def figures(url: str) -> dict[str, Any]:
    done = await roost_store("stats", "--json", url=url)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def check_figures(store: Store, url: str) -> None:
    """Of a store with one job in each of three states."""
    empty = await figures(url)
    assert (empty["jobs"], empty["requests"], empty["parts"]) == ([], [], 0)
    assert (empty["waiting_since"], empty["oldest_outcome"], empty["oldest_outcome_kept_until"]) == (None, None, None)
    await fill(store)
    found = await figures(url)
    assert [(each["kind"], each["state"], each["count"]) for each in found["jobs"]] == [
        ("crawl", "done", 1), ("crawl", "running", 1), ("crawl", "waiting", 1),
    ]  # fmt: skip
    assert [(each["state"], each["count"]) for each in found["requests"]] == [("waiting", 3)]
    assert (found["parts"], found["part_bytes"]) == (1, 4)
    assert {found[f"{what}_counted"] for what in ("jobs", "requests", "parts")} == {"exactly"}
    assert 0 < found["oldest_outcome"] <= found["now"] < found["oldest_outcome_kept_until"]
    assert 0 < found["waiting_since"] <= found["now"]
    assert min(found["sizes"].values()) >= 0
    text = (await roost_store("stats", url=url)).stdout
    assert "  crawl running                           1" in text.splitlines()
    assert "results: 4 bytes in 1 parts" in text.splitlines()
    assert "estimated" not in text


@pytest.mark.engines
class TestPostgres:
    async def test_figures(self, url: str, new_store: NewStore) -> None:
        store = new_store(url)
        await store.start()
        await check_figures(store, url)
        assert {"jobs", "requests", "results", "gateways", "clock"} <= set((await figures(url))["sizes"])

    async def test_large_tables_are_estimated_and_the_output_says_so(
        self, server: services.Postgres, url: str, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await new_store(url).start()
        server.sql(database_of(url), CROWD)
        monkeypatch.setattr(postgres_statistics, "SAMPLE_PAGES", 1_000)
        connection = await asyncpg.connect(url, server_settings={"search_path": "roost"})
        found = await postgres_statistics.Statistics(connection, count_s=0.001).stats()
        await connection.close()
        assert {found.jobs_counted, found.requests_counted} == {Counted.FROM_A_SAMPLE}
        assert MANY * 0.7 < sum(each.count for each in found.jobs) < MANY * 1.3
        assert MANY * 0.7 < sum(each.count for each in found.requests) < MANY * 1.3
        rare = sum(each.count for each in found.jobs if each.kind == "rare")
        assert MANY * 0.05 < rare < MANY * 0.15
        assert lines(found)[0] == "jobs (estimated from a sample: counting takes too long)"
        exact = await figures(url)
        assert sum(each["count"] for each in exact["jobs"]) == MANY

    async def test_a_store_of_no_version_is_refused(self, url: str) -> None:
        done = await roost_store("stats", url=url)
        assert (done.exit_code, "run `roost store migrate` first" in done.stderr) == (1, True), done.output


class TestSqlite:
    async def test_figures(self, tmp_path: Path) -> None:
        store = SqliteStore(str(tmp_path / "jobs.db"))
        await store.start()
        await check_figures(store, f"sqlite:{tmp_path / 'jobs.db'}")
        await store.stop()

    async def test_what_takes_too_long_is_left_out_and_the_output_says_so(self, tmp_path: Path) -> None:
        path = str(tmp_path / "jobs.db")
        store = SqliteStore(path)
        await store.start()
        await store.stop()
        db = sqlite3.connect(path)
        db.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) "
            "INSERT INTO jobs (kind, spec, rank, state, deadline, created_at) "
            "SELECT 'k', x'', n, 'waiting', n, n FROM n"
        )
        db.commit()
        found = sqlite_statistics.Statistics(db, path, SYSTEM_CLOCK, count_s=-1.0).stats()
        assert (found.jobs, found.jobs_counted, found.requests_counted) == ([], Counted.NOT, Counted.EXACTLY)
        assert lines(found)[0] == "jobs (not counted: that takes too long)"
        assert sqlite_statistics.Statistics(db, path, SYSTEM_CLOCK).stats().jobs[0].count == 20_000
        db.close()

    async def test_a_file_of_0_1_is_refused(self, tmp_path: Path) -> None:
        done = await roost_store("stats", url=f"sqlite:{sqlite_file(tmp_path)}")
        assert (done.exit_code, "run `roost store migrate` first" in done.stderr) == (1, True), done.output
