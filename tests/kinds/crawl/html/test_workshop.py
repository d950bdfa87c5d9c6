"""Work on strangers' pages costs a bounded time and memory, in processes that are gone with their worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from roost.backend.kinds.crawl import sandbox
from roost.backend.kinds.crawl.sandbox import MEMORY_BYTES, WAITING, ResourceLimitExceeded, SandboxPool

pytestmark = pytest.mark.slow


def who() -> int:
    return os.getpid()


def spin() -> None:
    while True:
        pass


def grow() -> int:
    return len(bytearray(2 * MEMORY_BYTES))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise ValueError("no")


@pytest.fixture
async def shop() -> AsyncIterator[SandboxPool]:
    made = SandboxPool()
    yield made
    await made.stop()
    await made.stop()


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_work_is_done_elsewhere_and_its_refusal_comes_back(shop: SandboxPool) -> None:
    assert await shop.do(60, who) != os.getpid()
    with pytest.raises(ValueError, match="no"):
        await shop.do(60, refuse)


async def test_what_takes_too_long_or_too_much_ends_and_others_do_not_notice(shop: SandboxPool) -> None:
    results = await asyncio.gather(
        shop.do(0.2, spin),
        shop.do(60, who),
        shop.do(60, grow),
        shop.do(60, die),
        shop.do(60, who),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        ResourceLimitExceeded,
        int,
        ResourceLimitExceeded,
        ResourceLimitExceeded,
        int,
    ]


async def test_nothing_is_left_when_it_stops_in_the_middle_of_work() -> None:
    shop = SandboxPool()
    process = await shop.do(60, who)
    work = asyncio.create_task(shop.do(60, spin))
    await asyncio.sleep(0)
    await shop.stop()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not is_there(process)


ORPHANS = """
import asyncio, os
from roost.backend.kinds.crawl.sandbox import SandboxPool
from tests.kinds.crawl.html.test_workshop import spin, who

async def main():
    shop = SandboxPool()
    process = await shop.do(60, who)
    work = asyncio.create_task(shop.do(60, spin))
    await asyncio.sleep(0)
    print(process, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_processes_end_with_a_worker_that_is_killed() -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", ORPHANS, stdout=asyncio.subprocess.PIPE)
    out, _ = await worker.communicate()
    async with asyncio.timeout(30):
        while is_there(int(out)):  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.01)


async def test_who_brings_too_much_work_is_told(shop: SandboxPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PROCESSES", 1)
    work = [asyncio.create_task(shop.do(60, who)) for _ in range(WAITING)]
    await asyncio.sleep(0)
    full = [shop.is_full]
    await asyncio.gather(*work)
    assert [*full, shop.is_full] == [True, False]
