"""A lane: a small deployment with its own virtual host and database, in which one test scenario runs after another.

It has as many processes of each kind as requested; a killed process can be started again, discovery at the same port.
In a lane whose master can be cut off, that master uses proxies for all its connections, and its own discovery and lock
server, so that no other component notices a cut.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.support import audit, services
from bench.support.components import STEPS, Process, start_part
from bench.support.proxy import Proxy
from bench.support.waiting import has_gateway, until
from roost.wire.failpoints import STOPPED, VARIABLE, Point

COUNTS: Mapping[str, int] = {"discovery": 1, "lock": 2, "master": 1, "worker": 1, "gateway": 1}
QUORUM_QUEUES = ("jobs.assigned", "jobs.dead", "tasks.steps", "tasks.crawl", "tasks.dead")
LOOK_S = 0.005
STARTS, START_AGAIN_S = 30, 1.0


@dataclass(frozen=True)
class Engines:
    """The engines under a lane."""

    rabbitmq: services.RabbitMq
    postgres: services.Postgres
    redis: services.Redis

    def find(self, name: str) -> services.Service:
        """The engine of this name."""
        return {"rabbitmq": self.rabbitmq, "postgres": self.postgres, "redis": self.redis}[name]


class Lane:
    """A lane on running engines. The caller must always call `close`."""

    def __init__(self, engines: Engines, can_cut: bool = False, counts: Mapping[str, int] = COUNTS) -> None:
        self.engines, self._can_cut, self.counts = engines, can_cut, counts
        self.points = Path(tempfile.mkdtemp(prefix="roost-points-"))
        services.reaper().tell("folder", self.points)
        self._parts: dict[str, list[Process]] = {}
        self._discovery_ports = [services.free_port() for _ in range(counts["discovery"])]
        self._free_ports = list(self._discovery_ports)
        self._proxies: list[Proxy] = []
        self._booting: set[asyncio.Task[Process]] = set()
        self.cells_run = 0
        self.variables: Mapping[str, str] = {}
        """More environment of processes that are started from now on, by which they can be of another version."""

    @property
    def urls(self) -> list[str]:
        """The URLs of discovery for clients."""
        return [f"http://{services.LOOPBACK}:{port}" for port in self._discovery_ports]

    async def open(self) -> None:
        """Start everything, and wait until RabbitMQ has written its definitions to disk."""
        engines = self.engines
        self._broker = await asyncio.to_thread(engines.rabbitmq.vhost)
        self.database = await asyncio.to_thread(engines.postgres.database)
        self._cache = engines.redis.url
        await asyncio.gather(*(self.boot("discovery") for _ in self._discovery_ports))
        await self.boot("lock")
        await asyncio.to_thread(audit.install, engines.postgres, self.database)
        if self._can_cut:
            await self._lay_cables()
        await self.mend()
        vhost = self._broker.rpartition("/")[2]
        await until(lambda: all(engines.rabbitmq.has_on_disk(f"{vhost}_{name}") for name in QUORUM_QUEUES))

    async def close(self) -> None:
        """Stop everything."""
        await asyncio.gather(*self._booting, return_exceptions=True)
        await asyncio.gather(*(process.kill() for processes in self._parts.values() for process in processes))
        await asyncio.gather(*(proxy.stop() for proxy in self._proxies))
        self._parts.clear()

    def running(self, kind: str) -> list[Process]:
        """Return the processes of this kind that have not ended."""
        return [process for process in self._parts.get(kind, ()) if process.is_running]

    async def boot(self, kind: str, is_cut_off: bool = False) -> Process:
        """One more process of this kind; a master that `is_cut_off` when the cables are cut.

        One that ends because an engine is away is started again, as an operator would do. Raises AssertionError.
        """
        starting = asyncio.create_task(self._start_at_last(self._command(kind, is_cut_off)))
        self._booting.add(starting)
        starting.add_done_callback(self._booting.discard)
        process = await starting
        self._parts.setdefault(kind, []).append(process)
        return process

    async def _start_at_last(self, command: tuple[str, ...]) -> Process:
        for _ in range(STARTS):
            with suppress(AssertionError):
                return await start_part(*command, variables=self._variables())
            await asyncio.sleep(START_AGAIN_S)
        return await start_part(*command, variables=self._variables())

    def forget_dead(self, hear: Callable[[str], None]) -> None:
        """Forget processes that have ended, in a run of many scenarios; `hear` first gets their complaints."""
        for kind, processes in self._parts.items():
            for line in [line for process in processes if not process.is_running for line in process.complaints]:
                hear(f"{kind}: {line.rstrip()}")
            self._parts[kind] = self.running(kind)

    async def kill(self, *processes: Process) -> None:
        """kill -9."""
        for process in processes:
            self._free_port_of(process)
        await asyncio.gather(*(process.kill() for process in processes))

    async def retire(self, process: Process) -> int:
        """SIGTERM; return its exit status."""
        self._free_port_of(process)
        return await process.terminate()

    def _free_port_of(self, process: Process) -> None:
        if process.is_running and process in self._parts["discovery"]:
            self._free_ports.append(_port_of(process))

    async def mend(self) -> None:
        """Restore the lane: the right number of each kind, no cut, no failpoint, and clients admitted."""
        for proxy in self._proxies:
            proxy.heal()
        for file in self.points.iterdir():
            file.unlink()
        starts = []
        for kind, count in self.counts.items():
            running = self.running(kind)
            await self.kill(*running[: max(0, len(running) - count)])
            starts += [self.boot(kind, self._can_cut and kind == "master") for _ in range(count - len(running))]
        await asyncio.gather(*starts)
        await until(lambda: has_gateway(self.urls[-1]))

    def cut(self) -> None:
        """Cut the master's connections, without any notification."""
        for proxy in self._proxies:
            proxy.cut()

    def heal(self) -> None:
        """Restore the master's connections."""
        for proxy in self._proxies:
            proxy.heal()

    def ask(self, point: Point) -> None:
        """Set a failpoint: the first process that reaches it stops there."""
        (self.points / point).touch()

    async def stopped_at(self, point: Point) -> Process:
        """Wait for the process that stopped at the failpoint, and return it."""
        while True:
            for taken in self.points.glob(f"{point}{STOPPED}*"):
                pid = int(taken.name.rpartition(".")[2])
                found = [each for kind in self._parts.values() for each in kind if each.child.pid == pid]
                if found and services.state_of(pid) == "T":
                    return found[0]
            await asyncio.sleep(LOOK_S)

    def kind_of(self, process: Process) -> str:
        """Return the kind of the process."""
        return next(kind for kind, processes in self._parts.items() if process in processes)

    def complaints(self) -> list[str]:
        """Return the complaints of all its processes, including ended ones."""
        return [
            f"{kind} {process.child.pid}: {line.rstrip()}"
            for kind, processes in self._parts.items()
            for process in processes
            for line in process.complaints
        ]

    # --- how its parts are started ------------------------------------------------------------------------

    def _variables(self) -> dict[str, str]:
        return {VARIABLE: str(self.points), **self.variables}

    def _command(self, kind: str, is_cut_off: bool) -> tuple[str, ...]:
        if kind == "discovery":
            return "discovery", "--port", str(self._free_ports.pop())
        known = tuple(word for url in self.urls for word in ("--discovery", url))
        known = ("--discovery", self._cut_discovery) if is_cut_off else known
        broker, cache = (self._cut_broker, self._cut_cache) if is_cut_off else (self._broker, self._cache)
        engines = ("--broker", broker, "--cache", cache)
        return {
            "lock": ("lock", "--port", "0", "--store", self._store(), *known),
            "master": ("master", *known, *engines, *STEPS),
            "worker": ("worker", "--allow-private", "127.0.0.0/8", *known, *engines, *STEPS),
            "gateway": ("gateway", "--gateway-port", "0", *known, *engines, *STEPS),
        }[kind]

    def _store(self) -> str:
        return self.engines.postgres.url(self.database)

    async def _lay_cables(self) -> None:
        """Start proxies for all connections of the master that can be cut off."""
        own = await start_part("discovery", "--port", "0", variables=self._variables())
        discovery = f"http://{services.LOOPBACK}:{_port_of(own)}"
        self._cut_discovery = discovery.replace(*await self._cable(_port_of(own)))
        self._cut_broker = self._broker.replace(*await self._cable(self.engines.rabbitmq.port))
        self._cut_cache = self._cache.replace(*await self._cable(self.engines.redis.port))
        port = services.free_port()
        _, public = await self._cable(port)
        where = ("--port", str(port), "--public-url", f"http://{services.LOOPBACK}{public}")
        lock = ("lock", *where, "--store", self._store(), "--discovery", discovery)
        self._parts["for one"] = [own, await start_part(*lock, variables=self._variables())]

    async def _cable(self, port: int) -> tuple[str, str]:
        """Return which part of a URL to replace by which."""
        proxy = await Proxy(port).start()
        self._proxies.append(proxy)
        return f":{port}", f":{proxy.port}"


def _port_of(discovery: Process) -> int:
    """Return its port, from its first line of output."""
    return int(re.findall(r":(\d+)$", discovery.said)[0])


def go_on(process: Process) -> None:
    """Continue a stopped process, unless it is dead."""
    if process.is_running:
        os.kill(process.child.pid, signal.SIGCONT)
