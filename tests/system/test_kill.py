"""The process is killed with -9 in the middle of a job and started again: the client gets its result, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.support.scripted_client import ScriptedClient
from bench.support.up_process import UpProcess

pytestmark = pytest.mark.slow

ROUNDS = 3


async def one_round(data: Path) -> None:
    process = UpProcess(data)
    try:
        await process.start()
        async with ScriptedClient(process.url) as client:
            await client.hello()
            await client.submit(levels=4, width=3, stream=True, behave="slow")
            await client.hear("level")
            await process.kill()
            session = client.session
        await process.start()
        async with ScriptedClient(process.url) as client:
            await client.hello(session, epoch=2)
            await client.say("resume", ids=["r1"])
            result, parts = await client.result()
            assert (result["id"], result["outcome"]) == ("r1", "done")
            assert parts == [[str(3 * level + number) for number in range(3)] for level in range(4)]
            await client.understood()
            await client.say("resume", ids=["r1"])
            assert (await client.hear("part", "result", "expired"))["type"] == "expired"
    finally:
        await process.kill()


async def test_i1_a_job_survives_kill_9_and_its_result_comes_once(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as rounds:
        for number in range(ROUNDS):
            rounds.create_task(one_round(tmp_path / str(number)))
