"""Clients that crawl on and on, and compare each crawl with what there is to find."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import roost
from roost.client.client import Client
from tests.compose import pages

CONNECT_WITHIN_S = 60.0
PATIENCE_S = 300.0
"""How long a client waits without any connection; nothing is away for nearly as long."""


def host(number: int) -> str:
    """The name of the site that client `number` crawls: each has one of its own."""
    return f"site-{number}"


def width(number: int) -> int:
    """Neighbours' sites differ, so that a result brought to the wrong client shows."""
    return 2 + number % 7


def check(number: int, levels: Sequence[Sequence[str]]) -> None:
    """Raises Wrong when these are not the levels of the site of client `number`."""
    if list(map(sorted, levels)) != pages.expected(host(number), width(number)):
        raise Wrong(f"the crawl of {host(number)} found {list(map(len, levels))} URLs in its levels")


class Wrong(Exception):
    """A crawl that is not what it must be."""


class Crowd:
    """`count` clients, each crawling its own site again and again until `finish`."""

    def __init__(self, discovery: Sequence[str], count: int) -> None:
        self._discovery, self._count = list(discovery), count
        self._finishing = asyncio.Event()
        self.crawls_done = 0

    async def run(self) -> None:
        """Return when each client's last crawl is complete. Raises Wrong, or what a crawl raised."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._connect()) for _ in range(self._count)]
            async with asyncio.TaskGroup() as group:
                for number, client in enumerate(clients):
                    group.create_task(self._crawl_on(client, number))

    def finish(self) -> None:
        """Crawls under way are the last ones."""
        self._finishing.set()

    def _connect(self) -> Client:
        return roost.connect(self._discovery, wait=True, connect_within_s=CONNECT_WITHIN_S, patience_s=PATIENCE_S)

    async def _crawl_on(self, client: Client, number: int) -> None:
        while not self._finishing.is_set():
            found = await client.crawl(pages.start(host(number), width(number)), depth=pages.DEPTH, max_age_s=0)
            if found.outcome != "done" or found.truncated or found.failed or found.skipped:
                raise Wrong(f"the crawl of {host(number)} is {found.outcome}: {found.failed or found.skipped}")
            check(number, found.levels)
            self.crawls_done += 1
