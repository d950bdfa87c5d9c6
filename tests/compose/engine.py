"""A container engine, and one project of docker-compose.yml on it, by the engine's own commands."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HEALTHY_WITHIN_S = 300.0
LOOK_EVERY_S = 0.5
LABEL = "com.docker.compose.project"


class EngineProblem(Exception):
    """There is no engine, or it did not do what it was told; a sentence for people."""


async def find_compose() -> list[str]:
    """How compose is called here. Raises EngineProblem when it, or an engine that answers, is missing."""
    if shutil.which("docker") is None:
        raise EngineProblem("needs a container engine: the command docker is missing (Debian: docker.io)")
    status, said = await run(["docker", "version", "--format", "{{.Server.Version}}"])
    if status:
        raise EngineProblem(f"the container engine does not answer: {said.strip().splitlines()[-1]}")
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not (await run([*command, "version"]))[0]:
            return command
    raise EngineProblem("needs docker compose or docker-compose 1.29 (Debian: docker-compose)")


class Project:
    """The compose file under a name of its own.

    `files` lie over it. Its variables come from their file alone, whatever the environment says.
    """

    def __init__(self, compose: Sequence[str], name: str, variables_file: Path, files: Sequence[Path]) -> None:
        self.name = name
        layers = [word for file in (ROOT / "docker-compose.yml", *files) for word in ("-f", str(file))]
        self._compose = [*compose, "-p", name, "--env-file", str(variables_file), *layers]
        names = {line.partition("=")[0] for line in variables_file.read_text().splitlines()}
        self._environment = {k: v for k, v in os.environ.items() if k not in names and not k.startswith("ROOST_")}

    async def compose(self, *arguments: str) -> str:
        """What ``compose ARGUMENTS`` says. Raises EngineProblem."""
        return await self._checked([*self._compose, *arguments])

    async def docker(self, *arguments: str) -> str:
        """What ``docker ARGUMENTS`` says. Raises EngineProblem."""
        return await self._checked(["docker", *arguments])

    async def services(self) -> list[str]:
        """By name, without those of other files."""
        return (await self.compose("config", "--services")).split()

    async def healthy(self) -> int:
        """Wait until every container is healthy; how many there are. Raises EngineProblem."""
        deadline = time.monotonic() + HEALTHY_WITHIN_S
        while True:
            states = await self._states()
            ill = sorted(name for name, state in states.items() if "(healthy)" not in state)
            if states and not ill:
                return len(states)
            if time.monotonic() > deadline:
                raise EngineProblem(f"not healthy after {HEALTHY_WITHIN_S:.0f} s: {', '.join(ill)}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def remember_volumes(self) -> set[str]:
        """The volumes of all containers, those without a name in the file too."""
        containers = await self._listed("ps", "--all")
        mounts = await self.docker("inspect", "--format", "{{json .Mounts}}", *containers) if containers else ""
        return {mount["Name"] for line in mounts.splitlines() for mount in json.loads(line) if mount.get("Name")}

    async def leftovers(self, volumes: set[str]) -> list[str]:
        """What is still there of the project, and of these volumes."""
        kept = set((await self.docker("volume", "ls", "--quiet")).split()) & volumes
        found = [f"volume {name}" for name in kept | set(await self._listed("volume", "ls"))]
        found += [f"container {name}" for name in await self._listed("ps", "--all")]
        return sorted(found + [f"network {name}" for name in await self._listed("network", "ls")])

    async def _listed(self, *command: str) -> list[str]:
        return (await self.docker(*command, "--quiet", "--filter", f"label={LABEL}={self.name}")).split()

    async def _states(self) -> dict[str, str]:
        form = "{{.Names}}\t{{.Status}}"
        lines = await self.docker("ps", "--all", "--filter", f"label={LABEL}={self.name}", "--format", form)
        return dict(line.split("\t", 1) for line in lines.splitlines())

    async def _checked(self, command: list[str]) -> str:
        status, said = await run(command, self._environment)
        if status:
            raise EngineProblem(f"`{' '.join(command[:2])} … {command[-1]}` failed ({status}):\n{said[-3000:]}")
        return said


async def run(command: Sequence[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output; errors are part of the output only when it failed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        said, complained = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, (said + (complained if process.returncode else b"")).decode(errors="replace")
