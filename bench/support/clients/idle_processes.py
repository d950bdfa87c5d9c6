"""Load processes full of silent clients (`bench.support.clients.idle_clients`), and how they are commanded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import Popen

from bench.support import processes
from bench.support.clients.close_stats import CloseStats

CROWD_COUNT = 15_000
"""Clients in one load process, whose descriptors may be limited to 20,000."""

WARM_UP_FIRST = 1 << 23
"""Addresses of its own for a warm-up, or later clients would meet what lingers of its connections (TIME_WAIT)."""

ADDRESSES_EACH = 1 << 20
"""Where several servers run at once, the clients of each have so many addresses of their own."""

PROCESS_ADDRESSES = 1 << 16
"""Of these, one load process may use so many."""


@dataclass(frozen=True)
class IdleProcess:
    """One load process."""

    process: Popen[str]

    def open(self, count: int) -> float:
        """Open more; the seconds that took."""
        return float(processes.tell(self.process, f"open {count}").split()[-1])

    def churn(self, count: int) -> float:
        """Open and close so many, some at a time; the seconds that took."""
        self.begin_churn(count)
        return self.end_churn()

    def begin_churn(self, count: int) -> None:
        """Begin with that; `end_churn` is to follow."""
        processes.order(self.process, f"churn {count}")

    def end_churn(self) -> float:
        """Wait for the end; the seconds it took."""
        return float(processes.said(self.process).split()[-1])

    def close(self) -> None:
        """Close all."""
        processes.tell(self.process, "close")

    def stats(self) -> dict[str, int]:
        """What it holds, pings it has heard, connections it has lost."""
        words = processes.tell(self.process, "stats").split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}

    def farewells(self) -> CloseStats:
        """How the server has ended connections so far."""
        return CloseStats.from_json(processes.tell(self.process, "farewells"))


@contextmanager
def one(port: int, first: int, *, hello: bool = False, tls: bool = False) -> Iterator[IdleProcess]:
    """A process whose clients have addresses from number `first` on.

    With `hello` they speak the job protocol, with `tls` they connect over TLS.
    """
    manners = [*(["hello"] if hello else []), *(["tls"] if tls else [])]
    with processes.running(
        [sys.executable, "-m", "bench.support.clients.idle_clients", str(port), str(first), *manners]
    ) as process:
        yield IdleProcess(process)


class IdleProcesses:
    """As many load processes as so many clients need."""

    def __init__(self, crowds: list[tuple[IdleProcess, int]]) -> None:
        self._crowds = crowds

    def open(self) -> float:
        """Open all; the seconds that took."""
        return sum(crowd.open(count) for crowd, count in self._crowds)

    def close(self) -> None:
        """Close all."""
        for crowd, _ in self._crowds:
            crowd.close()

    def stats(self) -> dict[str, int]:
        """The sums of theirs."""
        each = [crowd.stats() for crowd, _ in self._crowds]
        return {name: sum(stats[name] for stats in each) for name in each[0]}

    def farewells(self) -> CloseStats:
        """All of theirs."""
        return CloseStats.sum(crowd.farewells() for crowd, _ in self._crowds)


@contextmanager
def idle_processes(
    port: int, count: int, first: int = 0, *, hello: bool = False, tls: bool = False
) -> Iterator[IdleProcesses]:
    """`count` clients to be, none connected yet. Each time they open they have new addresses."""
    with ExitStack() as stack:
        parts = []
        for index, start in enumerate(range(0, count, CROWD_COUNT)):
            crowd = stack.enter_context(one(port, first + index * PROCESS_ADDRESSES, hello=hello, tls=tls))
            parts.append((crowd, min(CROWD_COUNT, count - start)))
        yield IdleProcesses(parts)
