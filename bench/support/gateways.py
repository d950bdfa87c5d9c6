"""Roost's own servers under measurement: a bare gateway, and one with the job protocol."""

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
    """A running gateway process; its first three output lines are its port, its capacity, and its admin port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(re.findall(r":(\d+)/", processes.said(process))[0])
        self.capacity_line = processes.said(process)
        self._admin_port = int(processes.said(process).split()[-1])

    def metrics(self) -> dict[str, int]:
        """Return its metrics by name."""
        return metrics(self._admin_port)


def metrics(admin_port: int) -> dict[str, int]:
    """Return a gateway's metrics by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    plain = (line.split() for line in lines if line.startswith("roost_gateway_") and "{" not in line)
    return {name.removeprefix("roost_gateway_"): int(float(value)) for name, value in plain}


@contextmanager
def gateway(app: str = ECHO, *options: str) -> Iterator[Gateway]:
    """Run a bare gateway on its own ports."""
    command = [sys.executable, "-m", "gateway", "--app", app, "--no-discovery", *FREE_PORTS]
    with processes.running([*command, *options], processes.SERVER_CPUS) as process:
        yield Gateway(process)


@contextmanager
def job_gateway() -> Iterator[Gateway]:
    """Run the whole system in one process (`bench.support.job_gateway`); yield its gateway."""
    with processes.running([sys.executable, "-m", "bench.support.job_gateway"], processes.SERVER_CPUS) as process:
        yield Gateway(process)
