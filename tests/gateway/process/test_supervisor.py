"""Several processes, run from the command line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys

import aiohttp
import pytest

from bench.support.ports import free_port
from roost.gateway.process.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, ProcessSlot
from tests.gateway.harness import PATIENCE_S

pytestmark = pytest.mark.slow

ECHO = ("--app", "roost.gateway.examples.echo:Echo", "--no-discovery")


def test_a_child_that_keeps_dying_waits_longer_each_time_and_a_steady_one_does_not() -> None:
    child, now_s, pauses = ProcessSlot(), 0.0, []
    for _ in range(10):
        child.started_s = now_s
        child.died(now_s + 0.1)
        pauses.append(round(child.due_s - now_s - 0.1, 6))
        now_s = child.due_s
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    child.started_s = now_s
    child.died(now_s + STEADY_S)
    assert child.due_s - now_s - STEADY_S == FIRST_PAUSE_S


class SupervisorProcess:
    """A supervisor process and the output of its children."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pids: list[int] = []

    async def ports(self, count: int) -> list[int]:
        """Return the ports of the next `count` children that report their address."""
        found: list[int] = []
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                line = (await self.process.stdout.readline()).decode()
                found += [int(port) for port in re.findall(r"ws://127\.0\.0\.1:(\d+)/", line)]
        return found

    def children(self) -> set[int]:
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as listing:
            return {int(pid) for pid in listing.read().split()}


async def start(*arguments: str) -> SupervisorProcess:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *ECHO,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return SupervisorProcess(process)


async def echoes(port: int) -> bool:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://127.0.0.1:{port}/") as client:
        await client.send_str("hi")
        return bool(await client.receive_str() == "hi")


async def test_each_process_serves_a_dead_one_comes_back_and_one_signal_ends_all() -> None:
    supervisor = await start("--processes", "2", "--port", "0")
    try:
        ports = await supervisor.ports(2)
        assert len(set(ports)) == 2
        assert all([await echoes(port) for port in ports])
        before = supervisor.children()
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        (again,) = await supervisor.ports(1)
        assert await echoes(again)
        assert len(supervisor.children() - before) == 1
        async with aiohttp.ClientSession() as http, http.ws_connect(f"http://127.0.0.1:{again}/") as client:
            supervisor.process.terminate()
            message = await client.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        async with asyncio.timeout(PATIENCE_S):
            assert await supervisor.process.wait() == 0
    finally:
        if supervisor.process.returncode is None:
            supervisor.process.kill()
        _, errors = await supervisor.process.communicate()
    assert errors.count(b"process died") == 1


async def test_processes_can_share_one_port() -> None:
    port = free_port()
    supervisor = await start("--processes", "2", "--port", str(port), "--shared-port")
    try:
        assert await supervisor.ports(2) == [port, port]
        assert all(await asyncio.gather(*(echoes(port) for _ in range(40))))
        supervisor.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await supervisor.process.wait() == 0
    finally:
        if supervisor.process.returncode is None:
            supervisor.process.kill()
        await supervisor.process.communicate()
