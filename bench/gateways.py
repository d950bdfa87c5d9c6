"""A gateway process under measurement."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import processes

ECHO = "gateway.examples.echo:Echo"


@dataclass(frozen=True)
class Figures:
    """One look at the process. `kernel_bytes` are of the whole machine, both ends of each connection included."""

    own_bytes: int
    resident_bytes: int
    kernel_bytes: int
    cpu_s: float
    blocks: int
    tasks: int
    connections: int
    pings: int


class Gateway:
    """A running ``python -m gateway``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(re.findall(r":(\d+)/", processes.said(process))[0])
        self.capacity_line = processes.said(process)
        self._admin = int(processes.said(process).split()[-1])

    def look(self) -> Figures:
        """Measure now."""
        metrics = self._metrics()
        pid = self.process.pid
        return Figures(
            own_bytes=processes.own_bytes(pid),
            resident_bytes=processes.resident_bytes(pid),
            kernel_bytes=processes.kernel_bytes(),
            cpu_s=processes.cpu_s(pid),
            blocks=metrics["roost_gateway_python_blocks"],
            tasks=metrics["roost_gateway_tasks"],
            connections=metrics["roost_gateway_open_connections"],
            pings=metrics["roost_gateway_pings_total"],
        )

    def _metrics(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        plain = (line.split() for line in lines if line.startswith("roost_gateway_") and "{" not in line)
        return {name: int(float(value)) for name, value in plain}


@contextmanager
def gateway(app: str = ECHO, *options: str) -> Iterator[Gateway]:
    """Start one, on ports of its own; end it."""
    command = [sys.executable, "-m", "gateway", "--app", app, "--no-discovery", "--port", "0", "--admin-port", "0"]
    with processes.running([*command, *options]) as process:
        yield Gateway(process)
