"""``roost store restored``: after a backup was brought back nothing is given twice, and everybody gets their answer.

The commands for making and restoring backups are those of ``docs/how-to/back-up-and-restore.md``.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.support import services
from roost.backend.engines import administration
from roost.backend.store.administration import TOKENS_PER_S, Backup
from roost.backend.store.port import Store, StoreLimits
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.errors import Misuse
from roost.wire.messages.lock import GatewayPoll, Grant, PutPart, RequestState, Verdict
from roost.wire.messages.outcome import Outcome
from tests.backend.conftest import new_store as new_store
from tests.backend.conftest import server as server
from tests.backend.store.contract_store import DONE, Desk, offer
from tests.backend.store.database import NewStore
from tests.roost.cli.store_command import database_of, roost_store

NAMES = ("done", "read", "waiting", "running", "running too", "given back", "later", "later too")
CLIENTS = {name: name.encode().ljust(16, b".") for name in NAMES}
LIMITS = StoreLimits(expect_s=0.0)
"""Clients are told at once that their request is not known, instead of after a minute."""


@dataclass
class Given:
    """All that masters were ever given."""

    before: dict[str, Grant] = field(default_factory=dict)
    after: dict[str, Grant] = field(default_factory=dict)

    @property
    def all(self) -> list[Grant]:
        return [*self.before.values(), *self.after.values()]


class Engine(ABC):
    """A store with a backup."""

    @abstractmethod
    async def open(self, which: str) -> Store:
        """Start a lock server's store on the one that is `first` or `restored`."""

    @abstractmethod
    def url(self, which: str) -> str:
        """Its URL."""

    @abstractmethod
    async def back_up(self) -> None:
        """Of the first one."""

    @abstractmethod
    async def restore(self) -> None:
        """Bring the backup back."""

    @abstractmethod
    def sql(self, statement: str) -> None:
        """Run a statement in the one that was restored; {ago} is a time of 25 hours ago."""


class PostgresEngine(Engine):
    def __init__(self, server: services.Postgres, new_store: NewStore, folder: Path) -> None:
        self._server, self._new_store, self._file = server, new_store, folder / "roost.dump"
        self._urls = {which: server.url(server.database()) for which in ("first", "restored")}

    async def open(self, which: str) -> Store:
        store = self._new_store(self.url(which), LIMITS)
        await store.start()
        return store

    def url(self, which: str) -> str:
        return self._urls[which]

    async def back_up(self) -> None:
        await self._run("pg_dump", "--format=custom", f"--file={self._file}", self.url("first"))

    async def restore(self) -> None:
        await self._run("pg_restore", "--exit-on-error", f"--dbname={self.url('restored')}", str(self._file))

    def sql(self, statement: str) -> None:
        text = statement.format(ago="now() - interval '25 hours'")
        self._server.sql(database_of(self.url("restored")), f"SET search_path = roost; {text}")

    async def _run(self, program: str, *words: str) -> None:
        await asyncio.to_thread(subprocess.run, [str(self._server._bin / program), *words], check=True)


class SqliteEngine(Engine):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self, which: str) -> Store:
        store = SqliteStore(str(self._path(which)), LIMITS)
        await store.start()
        return store

    def url(self, which: str) -> str:
        return f"sqlite:{self._path(which)}"

    async def back_up(self) -> None:
        self._execute("first", f"VACUUM INTO '{self._folder / 'roost.backup'}'")

    async def restore(self) -> None:
        (self._folder / "roost.backup").rename(self._path("restored"))

    def sql(self, statement: str) -> None:
        self._execute("restored", statement.format(ago="unixepoch() - 90000.0"))

    def _execute(self, which: str, statement: str) -> None:
        with closing(sqlite3.connect(self._path(which))) as db:
            db.execute(statement)
            db.commit()

    def _path(self, which: str) -> Path:
        return self._folder / f"{which}.db"


async def live(engine: Engine) -> Given:
    """A store works, is backed up, works on, and is lost."""
    given = Given()
    store = await engine.open("first")
    desk = Desk(store)
    for name in ("done", "read", "running", "running too", "given back"):
        given.before[name] = await desk.grant(offer(CLIENTS[name], run=name.encode()), master="m1")
    for name in ("done", "read"):
        await desk.complete(given.before[name])
    assert (await desk.beat(given.before["running too"])) is Verdict.OK
    await desk.acquire(offer(CLIENTS["waiting"], run=b"waiting"), slots=0)
    await store.tick()
    await engine.back_up()
    await desk.complete(given.before["running"])  # its outcome is lost
    for grant in (await desk.acquire(slots=9, master="m2")).grants:
        given.after[grant.spec.decode()] = grant
    for name in ("later", "later too"):
        given.after[name] = await desk.grant(offer(CLIENTS[name], run=name.encode()), master="m2")
    await desk.complete(given.after["later"])
    await store.stop()
    return given


class RestoredContract:
    """What both engines do."""

    async def test_p30_no_token_or_job_id_is_given_again_after_a_restoration_and_nobody_of_before_goes_on(
        self, engine: Engine
    ) -> None:
        given = await live(engine)
        await engine.restore()
        done = await roost_store("restored", "--yes", url=engine.url("restored"))
        assert done.exit_code == 0, done.output
        assert "Jobs that waited then: 1; that ran: 3." in done.stdout
        assert "Jobs that had ended then: 2." in done.stdout
        assert "Leases that were ended: 3." in done.stdout
        store = await engine.open("restored")
        desk = Desk(store)
        for grant in [given.before["running"], given.before["running too"], *given.after.values()]:
            assert await desk.beat(grant) is Verdict.LOST
            assert await store.put_part(PutPart(grant.job, grant.token, 0, b"old")) is Verdict.LOST
            assert (await desk.complete(grant)).verdict is Verdict.LOST
        again = (await desk.acquire(slots=9, master="m3")).grants
        assert sorted(grant.spec for grant in again) == sorted(
            b"spec of " + name.encode() for name in ("waiting", "running", "running too", "given back")
        )
        new = [await desk.grant(offer(b"%16d" % n, run=b"%d" % n), master="m3") for n in range(3)]
        assert not {grant.token for grant in [*again, *new]} & {grant.token for grant in given.all}
        assert not {grant.job for grant in new} & {grant.job for grant in given.all}
        assert min(grant.token for grant in [*again, *new]) > max(grant.token for grant in given.all)
        for grant in again:
            assert await desk.beat(grant) is Verdict.OK
            name = grant.spec.removeprefix(b"spec of ").decode()
            (watcher,) = (await desk.complete(grant)).watchers
            assert (watcher.client, watcher.request) == (CLIENTS[name], "r1")
        await store.stop()

    async def test_clients_get_their_results_or_are_told(self, engine: Engine) -> None:
        await live(engine)
        await engine.restore()
        await roost_store("restored", "--yes", url=engine.url("restored"))
        store = await engine.open("restored")
        desk = Desk(store)
        states = {name: (await desk.status(CLIENTS[name])).state for name in NAMES}
        assert states == {
            **dict.fromkeys(("done", "read"), RequestState.ENDED),
            **dict.fromkeys(set(NAMES) - {"done", "read"}, RequestState.WAITING),
        }
        unknown = (await store.sweep(GatewayPoll("g2"))).unknown
        assert set(unknown) == {(CLIENTS["later"], "r1"), (CLIENTS["later too"], "r1")}
        grants = (await desk.acquire(offer(CLIENTS["later"], run=b"later"), slots=9)).grants
        for grant in grants:
            await desk.complete(grant, DONE)
        for name in set(NAMES) - {"later too"}:
            ending = (await desk.status(CLIENTS[name], epoch=3)).ending
            assert ending is not None
            assert ending.outcome is Outcome.DONE
        await store.tick()
        await store.stop()
        done = await roost_store("check", url=engine.url("restored"))
        assert "given twice" not in done.stdout

    async def test_what_has_become_too_old_meanwhile_is_counted_and_told(self, engine: Engine) -> None:
        await live(engine)
        await engine.restore()
        engine.sql("UPDATE jobs SET deadline = {ago} WHERE state IN ('running', 'waiting')")
        engine.sql("UPDATE jobs SET keep_until = {ago} WHERE state = 'done'")
        engine.sql("UPDATE clock SET ticked_at = {ago}")
        done = await roost_store("restored", "--yes", url=engine.url("restored"))
        assert "25 hours ago" in done.stdout
        assert "the deadline of 4 has passed since" in done.stdout
        assert "the retention of 2 has passed since" in done.stdout
        token = int(re.findall(r"Tokens go on after (\d+)", done.stdout)[0])
        assert token > 1e12
        store = await engine.open("restored")
        desk = Desk(store)
        while (await desk.status(CLIENTS["waiting"])).ending is None:
            await asyncio.sleep(0.2)  # after a gap nobody loses anything for one lease
            await store.tick()
        ending = (await desk.status(CLIENTS["running"])).ending
        assert ending is not None
        assert ending.outcome is Outcome.EXPIRED
        assert (await desk.status(CLIENTS["done"])).state is RequestState.EXPIRED
        await store.stop()

    async def test_nothing_is_changed_while_a_lock_server_ticks(self, engine: Engine) -> None:
        store = await engine.open("first")
        running = True

        async def tick() -> None:
            while running:
                await store.tick()
                await asyncio.sleep(0.2)

        ticking = asyncio.create_task(tick())
        done = await roost_store("restored", "--yes", url=engine.url("first"))
        running = False
        await ticking
        assert (done.exit_code, "stop all lock servers first" in done.stderr) == (1, True), done.output
        grant = await Desk(store).grant(offer())
        assert grant.token < 1e12
        await store.stop()

    async def test_nothing_is_changed_when_a_lock_server_started_while_it_asked(self, engine: Engine) -> None:
        given = await live(engine)
        await engine.restore()
        opened = administration(engine.url("restored"), LIMITS)
        backup = await opened.look_back()
        store = await engine.open("restored")
        with pytest.raises(Misuse, match="stop all lock servers first"):
            await opened.go_on(backup)
        assert await Desk(store).beat(given.before["running"]) is Verdict.OK
        await store.stop()

    async def test_it_asks_first(self, engine: Engine) -> None:
        given = await live(engine)
        await engine.restore()
        done = await roost_store("restored", url=engine.url("restored"), answer="n\n")
        assert (done.exit_code, "Nothing was changed." in done.stderr) == (1, True), done.output
        store = await engine.open("restored")
        assert await Desk(store).beat(given.before["running"]) is Verdict.OK
        await store.stop()

    async def test_a_store_that_was_never_used_or_is_of_another_version_is_refused(self, engine: Engine) -> None:
        done = await roost_store("restored", "--yes", url=engine.url("restored"))
        assert done.exit_code == 1
        await roost_store("migrate", url=engine.url("restored"))
        done = await roost_store("restored", "--yes", url=engine.url("restored"))
        assert (done.exit_code, "no lock server has ever used this store" in done.stderr) == (1, True), done.output


@pytest.mark.engines
@pytest.mark.slow
class TestPostgres(RestoredContract):
    @pytest.fixture
    def engine(self, server: services.Postgres, new_store: NewStore, tmp_path: Path) -> Engine:
        return PostgresEngine(server, new_store, tmp_path)


@pytest.mark.slow
class TestSqlite(RestoredContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        return SqliteEngine(tmp_path)


def test_p30_a_second_restoration_goes_on_after_a_busy_store_too() -> None:
    """Time in milliseconds alone would give tokens again that came faster than one a millisecond since the first."""
    first = Backup(ticked_at=1_000_000.0, now=1_000_100.0, waiting=0, running=0, overdue=0, ended=0, forgotten=0)
    base = first.next_number(5)
    assert base > 1_000_100_000
    a_day_s = 86_400.0
    in_the_backup = base + int(a_day_s * TOKENS_PER_S * 0.9)
    ever_given = in_the_backup + int(a_day_s * TOKENS_PER_S * 0.9)
    taken_at = first.now + a_day_s
    second = Backup(taken_at, taken_at + a_day_s, waiting=0, running=0, overdue=0, ended=0, forgotten=0)
    assert second.next_number(in_the_backup) > ever_given
