"""`roost up` as a separate process, which tests can kill."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

START_S = 90.0
"""Time limit for starting Python with its imports on a busy machine."""
COMMAND = "from roost.cli import main; main()"


class UpProcess:
    """One run of ``roost up --data DIR``; `url` is for clients."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; return when it says that it is up."""
        options = [
            "--port",
            "0",
            "--gateway-port",
            "0",
            "--kind",
            "bench.support.steps_kind:Steps",
            "--log-level",
            "error",
        ]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", COMMAND, "up", "--data", str(self._data), *options, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            while not (found := re.search(rb"clients ask +(\S+)", await self._process.stdout.readline())):
                assert not self._process.stdout.at_eof(), "it ended before it was up"
        self.url = found[1].decode()

    async def kill(self) -> None:
        """kill -9; fine to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.communicate()
