"""A whole deployment in this process whose parts start and stop one by one, as processes would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from bench.support.steps_kind import Steps
from roost.backend.assembly import Site, gateway_parts, lock_parts, master_parts, worker_parts
from roost.backend.client_protocol.application import ClientProtocol
from roost.backend.engines import Engines, EngineUrls
from roost.backend.kinds.registry import Kinds
from roost.backend.master.master import Master
from roost.backend.store.port import StoreLimits
from roost.discovery.server import Discovery
from roost.gateway.admission.access import OPEN, Access
from roost.gateway.server import Server
from roost.gateway.settings import Settings
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.service import ServiceGroup
from roost.wire.tokens import Keyring

HOST = "127.0.0.1"
LIMITS = StoreLimits(expect_s=0.0)
"""What is not stored is unknown at the next sweep."""
PATIENCE_S = 20.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Cluster:
    """Discovery runs as long as this; each `start_…` returns the stack of one more process."""

    def __init__(self, folder: Path, drain_s: float = 0.5) -> None:
        self._drain_s = drain_s
        self.steps = Steps()
        self.keys = Keyring.random()
        self.engines = Engines(EngineUrls(store=f"sqlite:{folder}/jobs.db"), LIMITS)
        self.discovery = Discovery(HOST, 0, self.keys)
        self.stacks: list[ServiceGroup] = []

    async def __aenter__(self) -> Cluster:
        await self._start(ServiceGroup([self.discovery]))
        self.site = Site(lambda: [self.discovery.url], self.keys, self.engines, Kinds([self.steps]), LIMITS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stack in reversed(self.stacks):
            await stack.stop()

    @property
    def url(self) -> str:
        return self.discovery.url

    async def _start(self, stack: ServiceGroup) -> ServiceGroup:
        self.stacks.append(stack)
        await stack.start()
        return stack

    async def start_all(self) -> None:
        """One of each."""
        self.lock = await self.start_lock()
        self.worker = await self.start_worker()
        self.master_stack, self.master = await self.start_master()
        self.gateway_stack, self.gateway = await self.start_gateway()

    async def start_lock(self, port: int = 0) -> ServiceGroup:
        return await self._start(ServiceGroup(lock_parts(self.site, HOST, port)))

    async def start_worker(self) -> ServiceGroup:
        return await self._start(ServiceGroup(worker_parts(self.site, 64, {})))

    async def start_master(self, slots: int = 64) -> tuple[ServiceGroup, Master]:
        parts = master_parts(self.site, slots)
        stack = await self._start(ServiceGroup(parts))
        return stack, next(part for part in parts if isinstance(part, Master))

    async def start_gateway(self, access: Access = OPEN, **settings: Any) -> tuple[ServiceGroup, Server]:
        parts, server = gateway_parts(
            self.site,
            Settings(host=HOST, port=0, drain_s=self._drain_s, **settings),
            "",
            access.require_ticket,
            access.bearer(SYSTEM_CLOCK),
        )
        return await self._start(ServiceGroup(parts)), server

    def ingress(self, server: Server | None = None) -> ClientProtocol:
        """The application of a gateway."""
        return cast(ClientProtocol, (server or self.gateway)._app)
