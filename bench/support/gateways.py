"""Our own servers under measurement: a bare gateway, and one that speaks the job protocol."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from bench.support import processes

ECHO = "roost.gateway.examples.echo:Echo"
FREE_PORTS = ("--port", "0", "--admin-port", "0")


class Gateway:
    """A running gateway process; it says on three lines where it listens, what it can hold, and its admin port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(re.findall(r":(\d+)/", processes.said(process))[0])
        self.capacity_line = processes.said(process)
        self._admin_port = int(processes.said(process).split()[-1])

    def metrics(self) -> dict[str, int]:
        """Its own counters, by name."""
        return metrics(self._admin_port)


def metrics(admin_port: int) -> dict[str, int]:
    """A gateway's own counters, by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    plain = (line.split() for line in lines if line.startswith("roost_gateway_") and "{" not in line)
    return {name.removeprefix("roost_gateway_"): int(float(value)) for name, value in plain}


@contextmanager
def gateway(app: str = ECHO, *options: str) -> Iterator[Gateway]:
    """A bare gateway on ports of its own."""
    command = [sys.executable, "-m", "gateway", "--app", app, "--no-discovery", *FREE_PORTS]
    with processes.running([*command, *options], processes.SERVER_CPUS) as process:
        yield Gateway(process)


@contextmanager
def job_gateway() -> Iterator[Gateway]:
    """The whole system in one process (`bench.support.job_gateway`), as far as its gateway shows it."""
    with processes.running([sys.executable, "-m", "bench.support.job_gateway"], processes.SERVER_CPUS) as process:
        yield Gateway(process)
