"""Runs one crawl for the command line: starts a system if needed, shows progress, writes the result, and cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from roost.cli.connection_notices import connection_notices
from roost.cli.output_target import Target
from roost.cli.progress import Display, reason_lines, summary_line
from roost.client.client import CRAWL, Client, connect
from roost.client.crawl_answer import assemble_crawl
from roost.client.effects import Answer
from roost.client.request import LevelFound, Request
from roost.export.formats import Format, write_as
from roost.wire.errors import BadInput, RoostError
from roost.wire.messages.outcome import Outcome

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.operator_options import CrawlOptions
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult

DONE, COULD_NOT_RUN, USAGE, BROKEN_LINKS, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""

CONNECT_WITHIN_S = 5.0
"""Timeout of the first connection. A user waits at the terminal, so a wrong address should be reported soon."""

CANCEL_WITHIN_S = 5.0
"""How long to wait after Ctrl-C for the system's partial result; then the levels received so far are written."""


@dataclass(frozen=True, slots=True)
class Order:
    """A crawl as given on the command line. `options` are for the system that is started here.

    `server` has the URLs of discovery's replicas, separated by commas; without it everything runs in this process.
    """

    spec: dict[str, Any]
    format: Format
    server: str = ""
    options: CrawlOptions | None = None


class CrawlRun:
    """Runs one order."""

    def __init__(self, order: Order, target: Target, display: Display) -> None:
        self._order, self._target, self._display = order, target, display
        self._interrupted = asyncio.Event()
        self._asked = False
        self._levels: list[list[Any]] = []

    async def run(self) -> int:
        """Run the crawl and return the exit code. Messages go to the display, the result to the target."""
        with self._listening():
            try:
                result = await self._unless_interrupted(self._crawl())
                if self._asked:
                    return self._write(result)
                self._display.say("interrupted before the crawl began: there is nothing to write")
                return INTERRUPTED
            except RoostError as problem:
                self._display.say(f"roost: {problem}")
                return USAGE if isinstance(problem, BadInput) else COULD_NOT_RUN
            finally:
                self._display.close()

    async def _unless_interrupted(self, crawling: Any) -> CrawlResult:
        """The crawl's result, or what was found so far when Ctrl-C came first."""
        crawl: asyncio.Task[CrawlResult] = asyncio.ensure_future(crawling)
        interrupted = asyncio.ensure_future(self._interrupted.wait())
        try:
            await asyncio.wait({crawl, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if self._asked and not crawl.done():
                await asyncio.wait({crawl}, timeout=CANCEL_WITHIN_S)
            if crawl.done() and not (self._interrupted.is_set() and crawl.exception()):
                return crawl.result()
        finally:
            for task in (crawl, interrupted):
                task.cancel()
            await asyncio.gather(crawl, interrupted, return_exceptions=True)
        return self._found_so_far()

    async def _crawl(self) -> CrawlResult:
        async with self._system() as urls, connect(urls, connect_within_s=CONNECT_WITHIN_S) as client:
            return await self._ask(client)

    @contextlib.asynccontextmanager
    async def _system(self) -> AsyncIterator[list[str]]:
        """URLs of discovery: those of the server, or that of a system started in this process."""
        if self._order.server:
            yield self._order.server.replace(",", " ").split()
            return
        from roost.allinone import UpSettings, all_in_one

        async with all_in_one(UpSettings(options={CRAWL: self._order.options})) as system:
            yield [system.url]

    async def _ask(self, client: Client) -> CrawlResult:
        self._asked = True
        request = client.submit(CRAWL, self._order.spec, stream=True)
        cancelling = asyncio.create_task(self._cancel_when_interrupted(request))
        try:
            with connection_notices(self._display.say):
                async for event in request.events():
                    self._display.show(event)
                    if isinstance(event, LevelFound):
                        self._note_level(event)
                return await request.result()  # type: ignore[no-any-return]
        finally:
            cancelling.cancel()
            await asyncio.gather(cancelling, return_exceptions=True)

    async def _cancel_when_interrupted(self, request: Request) -> None:
        await self._interrupted.wait()
        await request.cancel()

    def _note_level(self, found: LevelFound) -> None:
        while len(self._levels) <= found.level:
            self._levels.append([])
        self._levels[found.level].extend(found.items)

    def _found_so_far(self) -> CrawlResult:
        nothing = assemble_crawl(self._order.spec, Answer(Outcome.CANCELLED))
        return replace(nothing, levels=self._levels)

    def _write(self, result: CrawlResult) -> int:
        self._display.close()
        self._target.write(write_as(result, self._order.format))
        for line in (*reason_lines(result), summary_line(result)):
            self._display.say(line)
        if self._interrupted.is_set():
            return INTERRUPTED
        if result.outcome is not Outcome.DONE:
            return COULD_NOT_RUN
        return BROKEN_LINKS if result.broken else DONE

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """End the crawl with what was found on Ctrl-C, SIGTERM or a closed terminal; a second signal quits at once."""
        loop, numbers = asyncio.get_running_loop(), [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup sets SIG_IGN
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.interrupt)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def interrupt(self) -> None:
        """Handle Ctrl-C: end the crawl, or quit at once the second time."""
        if self._interrupted.is_set():
            self._display.close()
            os._exit(INTERRUPTED)
        self._interrupted.set()
        if self._asked:
            self._display.say("interrupted: collecting what was found (once more to quit at once)")
