"""The whole system in separate processes, as an operator starts it, on loopback.

Several gateway processes share a broker, so it is a real RabbitMQ; the store is a SQLite file of one lock server. Jobs
are of the `Steps` kind of the system's tests: one task that returns at once, so that a job passes every component
(broker, lock server, store, master, worker, and back) without external requests. Every process is in its own process
group, which the reaper kills, however this process ends (`bench.support.services`).
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
"""Clients per gateway, of the 20,000 descriptors that a process often has."""

NONE: Mapping[str, str] = MappingProxyType({})

END_S = 15.0
"""Seconds for a process to end in after SIGTERM; a gateway without clients needs a moment."""


class RoostPart(Service):
    """``roost PART`` as a process; it serves when its admin port reports that it is ready."""

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
        """Return the metrics of a gateway."""
        return gateways.metrics(self.port)


class Deployment:
    """The processes of a deployment by name; `gateways` are those that clients connect to. `variables` are options of
    all.
    """

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
        """Start all; return when they serve."""
        self.parts["discovery"].start()
        start_all([part for part in self.parts.values() if not part.is_launched()])

    def kill_gateways(self) -> None:
        """Kill all gateways (-9) at once."""
        for part in self.gateways.values():
            os.kill(part.pid, signal.SIGKILL)
        for part in self.gateways.values():
            part.kill()

    def start_gateways(self) -> None:
        """Start the gateways again at the same ports."""
        start_all(list(self.gateways.values()))

    def complaints(self) -> list[str]:
        """Return serious log lines of all processes, except for locust's general warning of high rates."""
        return [
            f"{name}: {line}"
            for name, part in self.parts.items()
            for line in part.log.read_text(errors="replace").splitlines()
            if any(word in line for word in ("WARNING", "ERROR", "Traceback")) and "spawn rate" not in line
        ]


def gateways_for(users: int) -> int:
    """Return how many gateways are needed for this many users; at least two, so that there is a choice."""
    return max(2, -(-users // PER_GATEWAY))


@contextmanager
def deployed(gateway_count: int, variables: Mapping[str, str] = NONE) -> Iterator[Deployment]:
    """Run the system with `gateway_count` gateways until the context ends."""
    deployment = Deployment(gateway_count, variables)
    try:
        deployment.start()
        yield deployment
    finally:
        end_all(list(deployment.parts.values()))


def start_all(parts: Sequence[Service]) -> None:
    """Start all concurrently."""
    for part in parts:
        part.launch()
    for part in parts:
        part.wait_until_it_serves()


def end_all(parts: Sequence[Service]) -> None:
    """Send SIGTERM to all that were started, and SIGKILL to those that do not end."""
    launched = [part for part in parts if part.is_launched()]
    for part in launched:
        with suppress(ProcessLookupError):
            os.kill(part.pid, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline and any(part.is_running() for part in launched):
        time.sleep(0.05)
    for part in launched:
        part.kill()
