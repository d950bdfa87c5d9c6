"""Starts Roost's own servers and other echo servers for a comparison, each in the same way and on one processor.

Every server keeps the keepalive settings that are the default of its library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.support import certificates, gateways, processes
from bench.support.gateways import Gateway

ROOT = Path(__file__).resolve().parents[2]
GO_PATH = Path("/usr/share/gocode")
GORILLA = ROOT / "build/gorilla_echo"

OURS = "roost"
OUR_JOBS = "roost-jobs"
"""The job protocol (`roost.backend.client_protocol`) on the gateway, the rest of the system in the same process."""

OUR_TLS = "roost-tls"
"""The bare gateway, over TLS."""

ALL_OURS = (OURS, OUR_JOBS, OUR_TLS)
PEERS = ("picows", "gorilla", "aiohttp", "websockets", "wsproto")


@dataclass(frozen=True)
class Server:
    """A server that listens on this port; one of ours has metrics."""

    name: str
    pid: int
    port: int
    gateway: Gateway | None = None

    def look(self) -> processes.Figures:
        """Measure now."""
        return processes.look(self.pid)


def what_is_missing(names: Sequence[str]) -> dict[str, str]:
    """Return why servers cannot be measured here, by name; builds missing programs. SystemExit for an unknown name."""
    unknown = [name for name in names if name not in (*ALL_OURS, *PEERS)]
    if unknown:
        raise SystemExit(f"no such server: {', '.join(unknown)}; there are {', '.join((*ALL_OURS, *PEERS))}")
    reasons = {}
    for name in names:
        if name == "gorilla":
            reason = _build_gorilla()
        elif name in PEERS and find_spec(name) is None:
            reason = "not installed: make setup, or pip install --constraint constraints.txt --editable '.[bench]'"
        elif name == OUR_TLS and shutil.which("openssl") is None:
            reason = "no openssl command to make a certificate with: apt-get install openssl"
        else:
            reason = ""
        if reason:
            reasons[name] = reason
            print(f"LEFT OUT: {name}: {reason}", file=sys.stderr, flush=True)
    return reasons


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Run the server of this name; `what_is_missing` must not list it."""
    if name in ALL_OURS:
        with _ours(name) as gateway:
            yield Server(name, gateway.process.pid, gateway.port, gateway)
        return
    command = (
        [str(GORILLA)] if name == "gorilla" else [sys.executable, str(ROOT / f"bench/compare/peers/{name}_echo.py")]
    )
    with processes.running(command, processes.SERVER_CPUS) as process:
        yield Server(name, process.pid, int(processes.said(process).split()[1]))


@contextmanager
def _ours(name: str) -> Iterator[Gateway]:
    with ExitStack() as stack:
        if name == OUR_JOBS:
            yield stack.enter_context(gateways.job_gateway())
        elif name == OUR_TLS:
            certificate, key = stack.enter_context(certificates.self_signed())
            options = ("--tls-cert", certificate, "--tls-key", key)
            yield stack.enter_context(gateways.gateway(gateways.ECHO, *options))
        else:
            yield stack.enter_context(gateways.gateway())


def _build_gorilla() -> str:
    """Build the gorilla server; return why that failed, or an empty string."""
    source = ROOT / "bench/compare/peers/gorilla_echo.go"
    if GORILLA.exists() and GORILLA.stat().st_mtime > source.stat().st_mtime:
        return ""
    needed = "apt-get install --no-install-recommends golang-go golang-github-gorilla-websocket-dev"
    if not (GO_PATH / "src/github.com/gorilla/websocket").exists():
        return f"not installed: {needed}"
    GORILLA.parent.mkdir(exist_ok=True)
    cache = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(GORILLA.parent / "go-cache")}
    try:
        subprocess.run(
            ["go", "build", "-o", str(GORILLA), str(source)],
            env={**os.environ, **cache},
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return f"no Go compiler: {needed}"
    except subprocess.CalledProcessError as problem:
        return f"does not build: {problem.stderr.strip()}"
    return ""
