"""One lifecycle for everything that lives long: start, ready, drain, stop.

`ServiceGroup` starts parts in order and stops them in reverse; stopping twice is fine, and a part whose
start failed leaves those before it stopped. `run` is a process: it starts a stack, says so, waits for
SIGTERM or SIGINT, drains, stops. A second signal stops without waiting for the drain. `AdminHttp` is
the operator's face of a process: ``/health`` (the process runs), ``/ready`` (it takes work; 503 while
it starts or drains) and ``/metrics`` (Prometheus text).
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
"""How long a part may take to let go of its work; an orchestrator's usual patience is 30 s."""


Step = Callable[[], Awaitable[None]]


class Service(Protocol):
    """A long-lived part of a process."""

    async def start(self) -> None:
        """Return when the part does its work; raise when it cannot."""

    async def drain(self) -> None:
        """Take no new work and return when the work at hand is done or handed on."""

    async def stop(self) -> None:
        """End at once, flush, release everything. Fine to call twice or without start."""


async def _nothing() -> None:
    pass


class FunctionService:
    """A part made of functions, for what has only some of the lifecycle."""

    def __init__(self, start: Step = _nothing, drain: Step = _nothing, stop: Step = _nothing) -> None:
        self._start, self._drain, self._stop = start, drain, stop

    async def start(self) -> None:
        await self._start()

    async def drain(self) -> None:
        await self._drain()

    async def stop(self) -> None:
        await self._stop()


class ServiceGroup:
    """Parts that start in order and stop in reverse."""

    def __init__(self, parts: Sequence[Service], drain_s: float = DRAIN_S) -> None:
        self._parts = list(parts)
        self._started: list[Service] = []
        self._drain_s = drain_s
        self.ready = False

    async def start(self) -> None:
        """Start every part; when one fails, stop those that run and raise its error."""
        try:
            for part in self._parts:
                self._started.append(part)
                await part.start()
        except BaseException:
            await self.stop()
            raise
        self.ready = True

    async def drain(self) -> None:
        """Drain each part, the last started first, all within the drain window; an error in one harms no other."""
        self.ready = False
        try:
            async with asyncio.timeout(self._drain_s):
                for part in reversed(self._started):
                    await self._drain_one(part)
        except TimeoutError:
            log.warning("drain window over", extra={"action": "drain_over", "window_s": self._drain_s})

    async def _drain_one(self, part: Service) -> None:
        try:
            await part.drain()
        except Exception:
            log.exception("drain failed", extra={"action": "drain_failed", "part": type(part).__name__})

    async def stop(self) -> None:
        """Stop each part, the last started first; an error in one does not keep the others running."""
        self.ready = False
        while self._started:
            part = self._started.pop()
            try:
                await part.stop()
            except Exception:
                log.exception("stop failed", extra={"action": "stop_failed", "part": type(part).__name__})


class AdminHttp:
    """Health, readiness and metrics of one process, on a port of its own."""

    def __init__(self, host: str, port: int, is_ready: Callable[[], bool]) -> None:
        self._host, self._port = host, port
        self._is_ready = is_ready
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._port

    async def start(self) -> None:
        app = web.Application()
        add_admin_routes(app, self._is_ready)
        self._runner = web.AppRunner(app, access_log=None)
        self._port = await serve(self._runner, self._host, self._port)

    async def drain(self) -> None:
        """Stays up: an operator watches the drain here."""

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def add_admin_routes(app: web.Application, is_ready: Callable[[], bool]) -> None:
    """Put /health, /ready and /metrics on an aiohttp application."""

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
    """Start `runner` on host and port (0 picks one); the port it got. Raises OSError.

    The sockets are bound here: the event loop would start four threads to look an address up, and with a second thread
    every system call of the process takes longer.
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


async def run_until_signal(stack: ServiceGroup, on_ready: Callable[[], None]) -> None:
    """Start, wait for SIGTERM or SIGINT, drain (a second signal cuts it short), stop."""
    stop, again = asyncio.Event(), asyncio.Event()
    with _signals(stop, again):
        starting = asyncio.ensure_future(stack.start())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                on_ready()
                await stopping
                drained = asyncio.ensure_future(stack.drain())
                hurried = asyncio.ensure_future(again.wait())
                await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
                await _cancel(drained, hurried)
        finally:
            await _cancel(starting, stopping)
            await stack.stop()


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(stack: ServiceGroup, on_ready: Callable[[], None] = lambda: None) -> None:
    """Be a process: run the stack under uvloop until a signal ends it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_signal(stack, on_ready))
