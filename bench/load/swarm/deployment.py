"""The whole system in processes of its own, as an operator starts it, on loopback.

Several gateway processes share a broker, so it is a real RabbitMQ; the store is a SQLite file of one lock server. Jobs
are the `Steps` kind of the system's tests: one task that answers at once, so that a job takes every step there is
(broker, lock server, store, master, worker, and back) and asks nobody outside. Every process is in a group of its own,
which a warden ends, however this one ends (`bench.support.services`).
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from bench.support import gateways, services
from bench.support.services import LOOPBACK, Service, free_port, say

ROOT = Path(__file__).resolve().parents[3]
KIND = "bench.support.steps_kind:Steps"
JOB_KIND, JOB_SPEC = "steps", "{}"
PER_GATEWAY = 18_000
"""Clients that a gateway is meant to hold of the 20,000 descriptors that a process often has."""

NONE: Mapping[str, str] = MappingProxyType({})

END_S = 15.0
"""For a process to end in after SIGTERM; a gateway without clients needs a moment."""


class RoostPart(Service):
    """``roost PART``, which serves when its port at which operators ask says that it is ready."""

    def __init__(self, name: str, secrets_of_all: Mapping[str, str], *arguments: str, asked_at: str) -> None:
        super().__init__(name)
        self._secrets, self._arguments = secrets_of_all, (*arguments, asked_at, str(self.port))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "roost", self._name, *self._arguments, "--log-level", "warning"]

    def variables(self) -> Mapping[str, str]:
        return {**self._secrets, "PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        return b" 200 " in say(self.port, b"GET /ready HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n")

    def metrics(self) -> dict[str, int]:
        """A gateway's own counters."""
        return gateways.metrics(self.port)


class Deployment:
    """Its parts, by name; `gateways` are those of them that clients connect to. `variables` are all parts' options."""

    def __init__(self, gateway_count: int, variables: Mapping[str, str] = NONE) -> None:
        shared = {"ROOST_KEYS": f"load:{secrets.token_hex(16)}", "ROOST_SECRET": secrets.token_hex(16), **variables}
        self.broker = services.rabbitmq()
        self.discovery = discovery = RoostPart("discovery", shared, asked_at="--port")
        self.url = f"http://{LOOPBACK}:{discovery.port}"
        known = ("--discovery", self.url)
        kind = ("--broker", self.broker.url, "--kind", KIND)
        lock = RoostPart("lock", shared, *known, "--store", "sqlite:jobs.db", asked_at="--port")
        self.gateways = {
            f"gateway {number}": RoostPart(
                "gateway",
                shared,
                *(*known, *kind, "--require-ticket", "--gateway-port", str(free_port())),
                asked_at="--admin-port",
            )
            for number in range(1, gateway_count + 1)
        }
        self.parts: dict[str, Service] = {
            **self.gateways,
            "discovery": discovery,
            "lock server": lock,
            "master": RoostPart("master", shared, *known, *kind, asked_at="--admin-port"),
            "worker": RoostPart("worker", shared, *known, *kind, asked_at="--admin-port"),
        }

    def start(self) -> None:
        """All serve."""
        self.parts["discovery"].start()
        start_all([part for part in self.parts.values() if not part.is_launched()])

    def kill_gateways(self) -> None:
        """kill -9 for all at once."""
        for part in self.gateways.values():
            os.kill(part.pid, signal.SIGKILL)
        for part in self.gateways.values():
            part.kill()

    def start_gateways(self) -> None:
        """Where they were before."""
        start_all(list(self.gateways.values()))

    def complaints(self) -> list[str]:
        """What parts wrote that is serious, but for locust's general warning of high rates."""
        return [
            f"{name}: {line}"
            for name, part in self.parts.items()
            for line in part.log.read_text(errors="replace").splitlines()
            if any(word in line for word in ("WARNING", "ERROR", "Traceback")) and "spawn rate" not in line
        ]


def gateways_for(users: int) -> int:
    """Gateways that hold so many; at least two, or there would be nothing to choose."""
    return max(2, -(-users // PER_GATEWAY))


@contextmanager
def deployed(gateway_count: int, variables: Mapping[str, str] = NONE) -> Iterator[Deployment]:
    """The system with so many gateways; gone afterwards."""
    deployment = Deployment(gateway_count, variables)
    try:
        deployment.start()
        yield deployment
    finally:
        end_all(list(deployment.parts.values()))


def start_all(parts: Sequence[Service]) -> None:
    """Beside each other."""
    for part in parts:
        part.launch()
    for part in parts:
        part.wait_until_it_serves()


def end_all(parts: Sequence[Service]) -> None:
    """SIGTERM for all that were started, and SIGKILL for whoever is there after that."""
    launched = [part for part in parts if part.is_launched()]
    for part in launched:
        with suppress(ProcessLookupError):
            os.kill(part.pid, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline and any(part.is_running() for part in launched):
        time.sleep(0.05)
    for part in launched:
        part.kill()
