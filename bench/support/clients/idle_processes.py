"""Load processes with silent clients (`bench.support.clients.idle_clients`), and how they are commanded."""

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
"""First address of warm-up clients: separate ones, so that later clients do not meet its connections in TIME_WAIT."""

ADDRESSES_EACH = 1 << 20
"""Addresses for the clients of each server, where several servers run at once."""

PROCESS_ADDRESSES = 1 << 16
"""Of these, the addresses for one load process."""


@dataclass(frozen=True)
class IdleProcess:
    """One load process."""

    process: Popen[str]

    def open(self, count: int) -> float:
        """Open more connections; return the seconds that took."""
        return float(processes.tell(self.process, f"open {count}").split()[-1])

    def churn(self, count: int) -> float:
        """Open and close `count` connections, some at a time; return the seconds that took."""
        self.begin_churn(count)
        return self.end_churn()

    def begin_churn(self, count: int) -> None:
        """Start that; call `end_churn` next."""
        processes.order(self.process, f"churn {count}")

    def end_churn(self) -> float:
        """Wait for the end; return the seconds that took."""
        return float(processes.said(self.process).split()[-1])

    def close(self) -> None:
        """Close all."""
        processes.tell(self.process, "close")

    def stats(self) -> dict[str, int]:
        """Return its open connections, received pings, and lost connections."""
        words = processes.tell(self.process, "stats").split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}

    def farewells(self) -> CloseStats:
        """Return how the server has ended connections so far."""
        return CloseStats.from_json(processes.tell(self.process, "close_stats"))


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
    """As many load processes as these clients need."""

    def __init__(self, load_processes: list[tuple[IdleProcess, int]]) -> None:
        self._load_processes = load_processes

    def open(self) -> float:
        """Open all connections; return the seconds that took."""
        return sum(process.open(count) for process, count in self._load_processes)

    def close(self) -> None:
        """Close all."""
        for process, _ in self._load_processes:
            process.close()

    def stats(self) -> dict[str, int]:
        """Return the sums over all processes."""
        each = [process.stats() for process, _ in self._load_processes]
        return {name: sum(stats[name] for stats in each) for name in each[0]}

    def farewells(self) -> CloseStats:
        """Return the sum over all processes."""
        return CloseStats.sum(process.farewells() for process, _ in self._load_processes)


@contextmanager
def idle_processes(
    port: int, count: int, first: int = 0, *, hello: bool = False, tls: bool = False
) -> Iterator[IdleProcesses]:
    """Yield processes for `count` clients, none connected yet. Each time they open, they use new addresses."""
    with ExitStack() as stack:
        parts = []
        for index, start in enumerate(range(0, count, CROWD_COUNT)):
            process = stack.enter_context(one(port, first + index * PROCESS_ADDRESSES, hello=hello, tls=tls))
            parts.append((process, min(CROWD_COUNT, count - start)))
        yield IdleProcesses(parts)
