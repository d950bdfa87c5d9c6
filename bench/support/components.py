"""Components of a deployment as separate processes, as an operator starts them, which tests can stop and kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.support import services
from bench.support.scripted_client import PATIENCE_S
from bench.support.up_process import START_S

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("roost"))
SECRETS = {"ROOST_KEYS": "test:0123456789abcdef0123456789abcdef", "ROOST_SECRET": "a secret of these tests"}
STEPS = ("--kind", "bench.support.steps_kind:Steps")
NO_VARIABLES: Mapping[str, str] = {}


@dataclass(eq=False)
class Process:
    """A running component; `said` is its first line of output, `complaints` its lines on standard error."""

    child: asyncio.subprocess.Process
    said: str = ""
    complaints: list[str] = field(default_factory=list)
    listening: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is not known to have ended."""
        return self.child.returncode is None

    async def terminate(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            return await self.child.wait()

    async def kill(self) -> None:
        """kill -9, and wait until it is gone; fine to call twice."""
        if self.is_running:
            self.child.kill()
        await self.child.wait()
        if self.listening is not None:
            await self.listening
        services.reaper().tell("ended", self.child.pid)

    def freeze(self) -> None:
        """Suspend the process (SIGSTOP) until `thaw`."""
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process (SIGCONT)."""
        self.child.send_signal(signal.SIGCONT)


async def launch(*arguments: str, variables: Mapping[str, str] = NO_VARIABLES) -> Process:
    """Run ``roost ARGUMENTS``; returns at once."""
    child = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **SECRETS, "PYTHONPATH": str(ROOT), **variables},
        start_new_session=True,
    )
    services.reaper().tell("group", child.pid)
    assert child.stderr is not None
    process = Process(child)
    process.listening = asyncio.create_task(_listen(child.stderr, process.complaints))
    return process


async def start_part(*arguments: str, variables: Mapping[str, str] = NO_VARIABLES) -> Process:
    """Run ``roost ARGUMENTS``; returns when it says that it serves."""
    process = await launch(*arguments, variables=variables)
    assert process.child.stdout is not None
    assert process.listening is not None
    try:
        async with asyncio.timeout(START_S):
            process.said = (await process.child.stdout.readline()).decode().strip()
        if not process.said:
            await process.listening
        assert process.said, "".join(process.complaints)
    except BaseException:
        await process.kill()
        raise
    return process


@asynccontextmanager
async def part(*arguments: str) -> AsyncIterator[Process]:
    """Run ``roost ARGUMENTS``; the context begins when it says that it serves."""
    process = await start_part(*arguments)
    try:
        yield process
    finally:
        await process.kill()


async def _listen(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode())
