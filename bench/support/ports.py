"""Ports for servers that tests and benchmarks start.

A port that the kernel picks (``bind`` to port 0) lies in the ephemeral range, from which it also picks the local ports
of outgoing connections. Between the moment a test lets go of such a port and the moment its server binds it, or while
a killed server is away, any connection on the machine may take it. These ports come from outside that range, so only
another server can take one; `elsewhere_if_taken` then starts the loser anew at another port. On a machine whose
ephemeral range leaves no port out, the kernel picks them after all.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

LOOPBACK = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST, LAST = 10_000, 65_535
"""Ports below 10,000 are left to servers that the machine itself may run."""

STARTS = 3
"""How often a start is tried, each time with other ports, while another server has one of its ports."""
IN_USE = re.compile(r"address (is )?already in use|eaddrinuse|port \d+ (is|are) in use", re.IGNORECASE)
"""The messages of the engines, Erlang's name server and Roost when they cannot listen."""
T = TypeVar("T")

_random = random.SystemRandom()
_given: set[int] = set()


class PortTaken(Exception):
    """A server did not start because another one has its port. A new attempt gets another port."""


def free_port() -> int:
    """Return a TCP port outside the ephemeral range at which nobody listens on 127.0.0.1; no port is returned twice.

    Raises OSError when every such port is taken.
    """
    ports = outside(ephemeral_range()) or [_picked_by_the_kernel()]
    first = _random.randrange(len(ports))  # test runs side by side begin at different ports
    for port in (*ports[first:], *ports[:first]):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port outside the ephemeral range {EPHEMERAL.read_text().strip()}")


def elsewhere_if_taken(start: Callable[[], T]) -> T:
    """Return what `start` returns; after PortTaken, call it again for other ports. The last try raises PortTaken."""
    for _ in range(STARTS - 1):
        with suppress(PortTaken):
            return start()
    return start()


def ephemeral_range() -> range:
    """Return the ports from which the kernel picks those of outgoing connections."""
    first, last = map(int, EPHEMERAL.read_text().split())
    return range(first, last + 1)


def outside(ephemeral: range) -> list[int]:
    """Return the ports that servers of tests may use."""
    return [port for port in range(FIRST, LAST + 1) if port not in ephemeral]


def _picked_by_the_kernel() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that closing connections of a predecessor do not keep a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def say(port: int, words: bytes) -> bytes:
    """Send these bytes and return the beginning of the answer. Raises OSError when nothing listens."""
    with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
        connection.sendall(words)
        return connection.recv(100)
