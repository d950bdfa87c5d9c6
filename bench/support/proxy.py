"""A TCP proxy that can be cut like a cable: nothing passes, and neither side is notified."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bench.support.services import LOOPBACK

PIECE_BYTES = 65_536


class Proxy:
    """Forwards to a port of this machine. Data in transit during a cut arrives after `heal`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Proxy:
        """Listen at `port`."""
        self._server = await asyncio.start_server(self._on_connection, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut(self) -> None:
        """Let nothing pass from now on, not even the end of a connection."""
        self._open.clear()

    def heal(self) -> None:
        """Continue forwarding."""
        self._open.set()

    async def stop(self) -> None:
        """Break every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):
            await self._open.wait()
            there, thither = await asyncio.open_connection(LOOPBACK, self.target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, thither))
                    both.create_task(self._pump(there, writer))
            finally:
                thither.close()
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE_BYTES):
                await self._open.wait()
                sink.write(piece)
                await sink.drain()
        await self._open.wait()
        sink.close()
