"""Starts the gateway and its peers, one after the other, each the same way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import gateways, processes

ROOT = Path(__file__).resolve().parent.parent
PEERS_PYTHON = ROOT / "build/peers/bin/python"
"""A Python that has picows and websockets: ``python3 -m venv build/peers``, then pip install them there."""

GO_PATH = Path("/usr/share/gocode")
NAMES = ("roost", "picows", "gorilla", "aiohttp", "websockets", "wsproto")


@dataclass(frozen=True)
class Server:
    """An echo server that listens."""

    name: str
    pid: int
    port: int


@contextmanager
def running(name: str) -> Iterator[Server | None]:
    """Start the server of this name; None when what it needs is not installed."""
    if name == "roost":
        with gateways.gateway() as gateway:
            yield Server(name, gateway.process.pid, gateway.port)
        return
    command = _command(name)
    if command is None:
        yield None
        return
    with processes.running(command) as process:
        yield Server(name, process.pid, int(processes.said(process).split()[1]))


def _command(name: str) -> list[str] | None:
    if name == "gorilla":
        binary = _built_gorilla()
        return [str(binary)] if binary else None
    for python in (sys.executable, str(PEERS_PYTHON)):
        try:
            if subprocess.run([python, "-c", f"import {name}, uvloop"], capture_output=True).returncode == 0:
                return [python, str(ROOT / f"bench/peers/{name}_echo.py")]
        except FileNotFoundError:
            continue
    return None


def _built_gorilla() -> Path | None:
    source, binary = ROOT / "bench/peers/gorilla_echo.go", ROOT / "build/gorilla_echo"
    if binary.exists() and binary.stat().st_mtime > source.stat().st_mtime:
        return binary
    if not (GO_PATH / "src/github.com/gorilla/websocket").exists():
        return None
    binary.parent.mkdir(exist_ok=True)
    variables = {
        "GO111MODULE": "off",
        "GOPATH": str(GO_PATH),
        "GOCACHE": str(binary.parent / "go-cache"),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(["go", "build", "-o", str(binary), str(source)], env=variables, capture_output=True)
    return binary if done.returncode == 0 else None
