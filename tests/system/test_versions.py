"""Parts of the last release beside those of this code, over one PostgreSQL, RabbitMQ and Redis.

The release is the newest sdist in ``tests/data``. It is marked as another version even when its code is the same, so
that its lock servers have store functions of their own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

import roost
from bench.support import audit, services
from bench.support.components import Process
from bench.support.lane import Engines, Lane
from bench.support.versions import Version, unpack
from bench.support.waiting import until
from roost.backend.store.postgres.schema import function_schema
from roost.wire.messages.client import Progress
from roost.wire.version import VERSION
from tests.faults.witness import Auditor
from tests.roost.site import Site

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

DATA = Path(__file__).parents[1] / "data"
COUNTS = {"discovery": 2, "lock": 1, "master": 1, "worker": 1, "gateway": 1}
CLIENTS = 4
ENDED_WITHIN_S = 60.0
CALLED = "SELECT DISTINCT schemaname FROM pg_stat_user_functions WHERE schemaname LIKE 'roost_%' AND {which}"


def newest_release() -> Path:
    """The sdist with the highest version."""
    return max(DATA.glob("roost-*.tar.gz"), key=lambda path: [int(n) for n in path.name[6:-7].split(".")])


@cache
def release() -> Version:
    """The last release."""
    return unpack(newest_release(), mark="other")


def count_calls(postgres: services.Postgres, setting: str) -> None:
    """Let the server count calls of functions, or not."""
    postgres.sql("postgres", setting)
    postgres.sql("postgres", "SELECT pg_reload_conf()")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lane() -> AsyncIterator[Lane]:
    """All parts of this code."""
    engines = [asyncio.to_thread(start) for start in (services.rabbitmq, services.postgres, services.redis)]
    lane = Lane(Engines(*await asyncio.gather(*engines)), counts=COUNTS)  # type: ignore[arg-type]
    try:
        count_calls(lane.engines.postgres, "ALTER SYSTEM SET track_functions = 'pl'")
        await lane.open()
        yield lane
    finally:
        await lane.close()
        count_calls(lane.engines.postgres, "ALTER SYSTEM RESET track_functions")


class Clients:
    """Clients that ask for a job now and then, no two of them for the same."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._numbers: Iterator[int] = itertools.count(1)
        self.witnesses = [Auditor(lane.urls, f"c{number}") for number in range(CLIENTS)]

    def ask(self, levels: int) -> None:
        """Each client asks for a job whose levels take a tenth of a second each."""
        for witness in self.witnesses:
            number = next(self._numbers)
            witness.submit(f"r{number}", levels=levels, width=2, bytes=number, behave="slow")

    async def all_end(self) -> None:
        """Wait for what was asked for: everything comes, whole and once."""
        async with asyncio.timeout(ENDED_WITHIN_S):
            for witness in self.witnesses:
                await witness.until(lambda witness=witness: not witness.lost())  # type: ignore[misc]
        for witness in self.witnesses:
            # `busy` is an honest answer: a request may cross the move to another gateway that still has the one before
            strayed = [each for each in witness.strayed() if "code='busy'" not in each]
            assert (witness.doubled(), strayed) == ([], [])

    async def see_progress(self) -> None:
        """Wait until a master and a worker work on the newest job."""
        last = self.witnesses[-1]
        newest = list(last.asked)[-1]
        await last.until(lambda: last.has_heard(newest, Progress) or not last.is_waiting(newest))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(lane: Lane) -> AsyncIterator[Clients]:
    made = Clients(lane)
    for witness in made.witnesses:
        await witness.start()
    yield made
    for witness in made.witnesses:
        await witness.close()


async def versions(lane: Lane, kind: str) -> set[str]:
    """The versions of the parts of a kind, as the last replica of discovery knows them."""
    async with aiohttp.ClientSession() as http, http.get(f"{lane.urls[-1]}/v1/components") as answer:
        return {each["version"] for each in (await answer.json())["components"] if each["kind"] == kind}


@asynccontextmanager
async def replacing(lane: Lane, kind: str, by: Version | None) -> AsyncIterator[None]:
    """Start parts of another version beside those that run; then end these. A replica of discovery has a fixed port."""
    lane.variables = by.variables if by else {}
    before: list[Process] = lane.running(kind)
    if kind == "discovery":
        assert await lane.retire(before.pop()) == 0
    await lane.boot(kind)
    yield
    for process in before:
        assert await lane.retire(process) == 0
    for _ in range(len(lane.running(kind)), COUNTS[kind]):
        await lane.boot(kind)
    lane.variables = {}


@pytest.mark.parametrize("kind", COUNTS)
async def test_a_part_of_the_last_release_works_beside_that_of_this_code_and_alone(
    lane: Lane, clients: Clients, kind: str
) -> None:
    clients.ask(levels=20)
    for by in (release(), None):
        await clients.see_progress()
        async with replacing(lane, kind, by):
            if kind != "discovery":
                await until(lambda: has_both(lane, kind))
            clients.ask(levels=3)
            await clients.see_progress()
            if kind == "lock":
                await until(lambda: have_called(lane, "true"))
        clients.ask(levels=3)
        if by:
            await crawl(lane)
    await clients.all_end()
    if kind == "lock":
        await until(lambda: have_called(lane, "funcname = 'decide'"))
    account = audit.look(lane.engines.postgres, lane.database)
    assert account.violations() == []
    assert [line for line in lane.complaints() if " ERROR " in line or "Traceback" in line] == []


async def has_both(lane: Lane, kind: str) -> bool:
    return await versions(lane, kind) == {VERSION, release().name}


async def have_called(lane: Lane, which: str) -> bool:
    """Whether lock servers of both versions called such functions, each those of its own version."""
    question = CALLED.format(which=which)
    found = (await asyncio.to_thread(lane.engines.postgres.sql, lane.database, question)).split()
    return len(found) == 2 and function_schema() in found


async def crawl(lane: Lane) -> None:
    """A small crawl comes back complete."""
    site = Site()
    await site.start()
    site.gate.set()
    try:
        async with roost.connect(lane.urls, wait=True) as client:
            result = await client.crawl(site.url, depth=2)
        assert [sorted(level) for level in result.levels] == [
            [site.url], sorted(["http://o.example/", f"{site.url}a", f"{site.url}slow"]), [f"{site.url}b"]
        ]  # fmt: skip
    finally:
        await site.stop()
