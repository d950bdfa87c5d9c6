"""``roost`` as a process: started, waited for, with its exit code and both streams."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import NamedTuple

from typer.testing import CliRunner

from roost.cli.commands import app

ROOST = [sys.executable, "-c", "from roost.cli import main; main()", "crawl"]
LOOPBACK = ("--allow-private", "127.0.0.0/8")
PATIENCE_S = 60.0


class Outcome(NamedTuple):
    code: int
    out: bytes
    err: str


async def start(*arguments: str, env: dict[str, str] | None = None, stderr: int = PIPE) -> Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    return await asyncio.create_subprocess_exec(
        *ROOST, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=stderr, env=clean | {"COLUMNS": "300"} | (env or {})
    )


async def finish(process: Process) -> Outcome:
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, out, (err or b"").decode())


async def crawl(*arguments: str, env: dict[str, str] | None = None) -> Outcome:
    return await finish(await start(*arguments, env=env))


def refused(*arguments: str) -> Outcome:
    """The same command in this process: for what ends before anything starts, twenty times as fast."""
    clean = {name: None for name in os.environ if name.startswith("ROOST_")}
    result = CliRunner(env={**clean, "COLUMNS": "300"}).invoke(app, ["crawl", *arguments])
    return Outcome(result.exit_code, result.stdout_bytes, result.stderr)
