"""``python -m tests.compose``: docker-compose.yml for real.

Brings it up under a name of its own, has 20 clients crawl at once, kills each service meanwhile, compares every crawl
with what there is to find, and takes it down to the last volume.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

import typer

from bench.support import services
from tests.compose import pages
from tests.compose.crowd import Crowd, Wrong, check, host, width
from tests.compose.engine import EngineProblem, Project, find_compose, run
from tests.compose.overlay import CLIENTS, DISCOVERY_PORTS, ENGINES, SITES, variables, write

AWAY_S = 3.0
"""A killed service stays away for so long: beats are missed, leases run on, clients look elsewhere."""

_began = time.monotonic()


def say(text: str) -> None:
    """A line of progress."""
    typer.echo(f"{time.monotonic() - _began:6.1f} s  {text}")


async def kill_each(project: Project, clients: Crowd) -> None:
    """Every service once, the engines first; all containers of a service at once."""
    for name in (*ENGINES, *sorted(set(await project.services()) - {*ENGINES, SITES})):
        done = clients.crawls_done
        await project.compose("kill", name)
        killed = time.monotonic()
        await asyncio.sleep(AWAY_S)
        await project.compose("start", name)
        await project.healthy()
        took_s = time.monotonic() - killed
        say(f"killed {name}: healthy again after {took_s:.1f} s; {clients.crawls_done - done} crawls ended meanwhile")


async def crawl_once(discovery: list[str]) -> None:
    """By the command, as a user does it. Raises Wrong."""
    roost = str(Path(sys.executable).with_name("roost"))
    words = ("--depth", str(pages.DEPTH), "--server", ",".join(discovery), "--format", "json")
    status, said = await run([roost, "crawl", pages.start(host(0), width(0)), *words])
    if status:
        raise Wrong(f"`roost crawl` ended with {status}: {said}")
    check(0, json.loads(said)["levels"])
    say(f"`roost crawl … --server {discovery[0]},…` from this machine: every level as it must be")


async def crawl_and_kill(project: Project, discovery: list[str]) -> None:
    """Raises what went wrong with a crawl, or with the engine."""
    clients = Crowd(discovery, CLIENTS)
    async with asyncio.TaskGroup() as group:
        group.create_task(clients.run())
        await kill_each(project, clients)
        clients.finish()
    say(f"{clients.crawls_done} crawls by {CLIENTS} clients: all complete, every level as it must be")


async def take_down(project: Project, image: str) -> None:
    """Raises EngineProblem when anything is left."""
    volumes = await project.remember_volumes()
    await project.compose("down", "--volumes", "--timeout", "30")
    with contextlib.suppress(EngineProblem):
        await project.docker("image", "rm", image)
    if left := await project.leftovers(volumes):
        raise EngineProblem(f"left behind: {', '.join(left)}")
    say(f"down: no container, network or volume is left; there were {len(volumes)} volumes")


async def smoke(files: list[Path]) -> None:
    """All of it. Raises what went wrong; whatever it is, the project is taken down."""
    compose = await find_compose()
    name = f"roost-smoke-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="roost-compose-") as folder:
        made = variables(name)
        environment, over = write(Path(folder), made)
        project = Project(compose, name, environment, [over, *files])
        say(f"{' '.join(compose)}: building and starting {name}")
        try:
            await project.compose("up", "--build", "--detach")
            say(f"up: {await project.healthy()} containers are healthy")
            discovery = [f"http://{services.LOOPBACK}:{made[port]}" for port in DISCOVERY_PORTS]
            await crawl_once(discovery)
            await crawl_and_kill(project, discovery)
        except Exception as problem:
            say("\n".join(["it went wrong:", *causes(problem), "the last lines of each part:"]))
            with contextlib.suppress(EngineProblem):
                say(await project.compose("logs", "--tail", "15"))
            raise
        finally:
            await take_down(project, made["ROOST_IMAGE"])


def causes(problem: BaseException) -> list[str]:
    """One line for each thing that went wrong."""
    if isinstance(problem, BaseExceptionGroup):
        return [line for inner in problem.exceptions for line in causes(inner)]
    return [str(problem) or type(problem).__name__]


def main() -> int:
    """The exit status: 0 when nothing was lost and nothing is left."""
    parser = argparse.ArgumentParser("python -m tests.compose", description=__doc__, allow_abbrev=False)
    parser.add_argument("--override", type=Path, action="append", default=[], help="a compose file to lay over")
    files = [file.resolve() for file in parser.parse_args().override]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(smoke(files))
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except Exception as problem:
        for line in causes(problem):
            say(f"FAILED: {line}")
        return 1
    say("PASSED: nothing lost, nothing left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
