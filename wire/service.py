"""The lifecycle that all services of a process share: start, ready, drain, stop.

`ServiceGroup` starts services in order and stops them in reverse order. Stopping twice is fine. When the start of a
service fails, those that were started before it are stopped. `run` is the main loop of a process: it starts a group,
reports that it is ready, waits for SIGTERM or SIGINT, drains, and stops. A second signal ends the drain early.
`AdminHttp` serves operators: ``/health`` (the process runs), ``/ready`` (it accepts work; 503 while it starts or
drains) and ``/metrics`` (Prometheus text).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from roost.wire.listener import bind

log = logging.getLogger(__name__)

DRAIN_S = 10.0
"""Seconds that a drain may take. Orchestrators usually kill a process 30 s after SIGTERM."""


Step = Callable[[], Awaitable[None]]


class Service(Protocol):
    """A long-lived component inside a process."""

    async def start(self) -> None:
        """Return when the service is working; raise when it cannot start."""

    async def drain(self) -> None:
        """Accept no new work. Return when the current work is done or handed over."""

    async def stop(self) -> None:
        """End at once: flush buffers and free all resources. Fine to call twice, or without start."""


async def _nothing() -> None:
    pass


class FunctionService:
    """A service made of functions, for things that need only some of the lifecycle's steps."""

    def __init__(self, start: Step = _nothing, drain: Step = _nothing, stop: Step = _nothing) -> None:
        self._start, self._drain, self._stop = start, drain, stop

    async def start(self) -> None:
        await self._start()

    async def drain(self) -> None:
        await self._drain()

    async def stop(self) -> None:
        await self._stop()


class ServiceGroup:
    """Services that start in order and stop in reverse order."""

    def __init__(self, services: Sequence[Service], drain_s: float = DRAIN_S) -> None:
        self._services = list(services)
        self._started: list[Service] = []
        self._drain_s = drain_s
        self.ready = False

    async def start(self) -> None:
        """Start every service. When one fails, stop those that were started and raise its error."""
        try:
            for service in self._services:
                self._started.append(service)
                await service.start()
        except BaseException:
            await self.stop()
            raise
        self.ready = True

    async def drain(self) -> None:
        """Drain the services, the last started first, all within the drain window.

        An error of one service is logged, and the others are still drained.
        """
        self.ready = False
        try:
            async with asyncio.timeout(self._drain_s):
                for service in reversed(self._started):
                    await self._drain_one(service)
        except TimeoutError:
            log.warning("drain timed out", extra={"action": "drain_over", "window_s": self._drain_s})

    async def _drain_one(self, service: Service) -> None:
        try:
            await service.drain()
        except Exception:
            log.exception("drain failed", extra={"action": "drain_failed", "service": type(service).__name__})

    async def stop(self) -> None:
        """Stop the services, the last started first. An error of one is logged, and the others are still stopped."""
        self.ready = False
        while self._started:
            service = self._started.pop()
            try:
                await service.stop()
            except Exception:
                log.exception("stop failed", extra={"action": "stop_failed", "service": type(service).__name__})


class AdminHttp:
    """Serves health, readiness and metrics of one process on a port of its own."""

    def __init__(self, host: str, port: int, is_ready: Callable[[], bool]) -> None:
        self._host, self._port = host, port
        self._is_ready = is_ready
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port it listens on; known once started."""
        return self._port

    async def start(self) -> None:
        app = web.Application()
        add_admin_routes(app, self._is_ready)
        self._runner = web.AppRunner(app, access_log=None)
        self._port = await serve(self._runner, self._host, self._port)

    async def drain(self) -> None:
        """Do nothing: operators watch the drain through this server."""

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def add_admin_routes(app: web.Application, is_ready: Callable[[], bool]) -> None:
    """Add /health, /ready and /metrics to an aiohttp application."""

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if is_ready() else web.Response(status=503, text="not ready\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)


async def serve(runner: web.AppRunner, host: str, port: int, backlog: int = 128) -> int:
    """Start `runner` on host and port (0 picks a free port) and return the port. Raises OSError.

    The sockets are bound here, because the event loop would start four threads to resolve an address. As soon as a
    process has a second thread, each of its system calls takes longer.
    """
    await runner.setup()
    sockets: list[socket.socket] = []
    try:
        sockets = bind(host, port, backlog)
        for listening in sockets:
            await web.SockSite(runner, listening, backlog=backlog).start()
    except BaseException:
        await runner.cleanup()
        for listening in sockets:
            listening.close()
        raise
    return int(runner.addresses[0][1])


@contextlib.contextmanager
def _signals(stop: asyncio.Event, again: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (again if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run_until_signal(group: ServiceGroup, on_ready: Callable[[], None]) -> None:
    """Start the group, wait for SIGTERM or SIGINT, drain, stop. A second signal ends the drain early."""
    stop, again = asyncio.Event(), asyncio.Event()
    with _signals(stop, again):
        starting = asyncio.ensure_future(group.start())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                on_ready()
                await stopping
                drained = asyncio.ensure_future(group.drain())
                interrupted = asyncio.ensure_future(again.wait())
                await asyncio.wait((drained, interrupted), return_when=asyncio.FIRST_COMPLETED)
                await _cancel(drained, interrupted)
        finally:
            await _cancel(starting, stopping)
            await group.stop()


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(group: ServiceGroup, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run the group under uvloop until a signal ends the process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_signal(group, on_ready))
