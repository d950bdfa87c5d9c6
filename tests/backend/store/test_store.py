"""The store's contract over every engine, and what SQLite does beyond it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.backend.store.port import Store, StoreLimits
from roost.backend.store.postgres.postgres_store import PostgresStore
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.errors import DecodeError, Misuse, Unavailable
from roost.wire.messages.lock import GatewayPoll
from tests.backend.store.contract_outages import OutageContract
from tests.backend.store.contract_store import Desk, OpenStore, StoreContract, offer
from tests.backend.store.database import DatabaseClock, shared_url
from tests.clock import ManualClock


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.engines)])
async def clock(request: pytest.FixtureRequest) -> AsyncIterator[ManualClock]:
    if request.param == "sqlite":
        yield ManualClock()
        return
    clock = DatabaseClock()
    await clock.start()
    yield clock
    await clock.stop()


@pytest.fixture
async def open_store(clock: ManualClock, tmp_path: Path) -> AsyncIterator[OpenStore]:
    opened: list[Store] = []

    async def open_again(limits: StoreLimits | None = None) -> Store:
        store: Store
        if isinstance(clock, DatabaseClock):
            store = PostgresStore(shared_url(), limits)
        else:
            store = SqliteStore(str(tmp_path / "jobs.db"), limits, clock)
        await store.start()
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        await store.stop()


class TestContract(StoreContract, OutageContract):
    """Every engine keeps the promises of the port."""


class TestSqlite:
    async def test_a_file_of_a_newer_program_is_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "jobs.db") as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
        with pytest.raises(Misuse, match="newer"):
            await SqliteStore(str(tmp_path / "jobs.db")).start()

    async def test_a_file_that_is_no_database_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.db").write_bytes(b"not a database, whatever its name says" * 100)
        with pytest.raises(Unavailable, match=r"jobs\.db"):
            await SqliteStore(str(tmp_path / "jobs.db")).start()

    async def test_a_folder_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="nowhere"):
            await SqliteStore(str(tmp_path / "nowhere" / "jobs.db")).start()

    async def test_p30_time_never_goes_back_over_a_restart(self, tmp_path: Path) -> None:
        path = str(tmp_path / "jobs.db")
        late, early = ManualClock(wall_s=2_000_000_000.0), ManualClock(wall_s=1_000_000_000.0)
        for clock in (late, early):
            store = SqliteStore(path, clock=clock)
            await store.start()
            await store.stop()
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT now FROM clock").fetchone() == (2_000_000_000.0,)
        db.close()

    async def test_p30_time_goes_on_while_the_wall_clock_is_behind(self, tmp_path: Path) -> None:
        clock = ManualClock()
        store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
        await store.start()
        before = self._time(tmp_path)
        clock.set_back(3600.0)
        await clock.advance(5.0)
        await store.tick()
        assert self._time(tmp_path) == pytest.approx(before + 5.0)
        await store.stop()

    def _time(self, folder: Path) -> float:
        db = sqlite3.connect(folder / "jobs.db")
        try:
            return float(db.execute("SELECT now FROM clock").fetchone()[0])
        finally:
            db.close()

    async def test_p26_a_sweep_that_fails_has_noted_that_its_gateway_lives(self, tmp_path: Path) -> None:
        store = SqliteStore(str(tmp_path / "jobs.db"))
        await store.start()
        desk = Desk(store)
        await desk.complete(await desk.grant(offer(gateway="g9")))
        with sqlite3.connect(tmp_path / "jobs.db") as db:
            db.execute("UPDATE jobs SET ending = x'ff'")
            db.execute("UPDATE gateways SET seen_at = 0")
        db.close()
        with pytest.raises(DecodeError):
            await store.sweep(GatewayPoll("g9"))
        with sqlite3.connect(tmp_path / "jobs.db") as db:
            assert db.execute("SELECT seen_at > 0 FROM gateways WHERE incarnation = 'g9'").fetchall() == [(1,)]
        db.close()
        await store.stop()

    async def test_a_file_that_another_process_holds_is_away_and_comes_back(self, tmp_path: Path) -> None:
        store = SqliteStore(str(tmp_path / "jobs.db"))
        await store.start()
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await store.tick()
        other.execute("ROLLBACK")
        other.close()
        await store.tick()
        await store.stop()

    async def test_stopping_twice_is_fine_and_a_stopped_store_is_unavailable(self, tmp_path: Path) -> None:
        store = SqliteStore(str(tmp_path / "jobs.db"))
        await store.start()
        await store.stop()
        await store.stop()
        with pytest.raises(Unavailable):
            await store.tick()
