"""Lock servers as processes (``roost lock``), and clients that call them over HTTP (`bench.load.lock_clients`)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.support import processes
from bench.support.rounds import Row

ROOST = "from roost.cli import main; main()"
NOWHERE = "http://127.0.0.1:9"
"""A discovery URL that nothing listens at: the masters are given the lock servers' URLs."""
ENVIRONMENT = {"ROOST_SECRET": "bench", "ROOST_KEYS": "bench:0123456789abcdef0123456789abcdef"}


class LockServerProcess:
    """One ``roost lock`` process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = "http://" + re.findall(r"lock server on (\S+)", processes.said(process))[0]


@contextmanager
def lock_servers(store: str, count: int) -> Iterator[list[LockServerProcess]]:
    """Run `count` lock servers over the store, each on its own port."""
    options = ["--store", store, "--port", "0", "--discovery", NOWHERE, "--log-level", "error"]
    command = [sys.executable, "-c", ROOST, "lock", *options]
    started = [
        subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield [LockServerProcess(process) for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.communicate()


def masters(what: str, servers: Sequence[LockServerProcess], number: int, seconds: float) -> subprocess.Popen[str]:
    """Start a process of masters that call these servers."""
    urls = ",".join(server.url for server in servers)
    command = [sys.executable, "-m", "bench.load.lock_clients", what, urls, str(number), str(seconds)]
    return subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, text=True)


def full(store: str, count: int, call: int, seconds: float) -> Row:
    """Measure the most decisions that masters get from `count` lock servers."""
    with lock_servers(store, count) as servers:
        asking = masters("full", servers, call, seconds)
        found: Row = json.loads(asking.communicate()[0])
        return found


def offered(store: str, count: int, rate: int, seconds: float, kill: bool) -> Row:
    """Measure single decisions at `rate` a second; with `kill`, one of the servers is killed half-way."""
    with lock_servers(store, count) as servers:
        asking = masters("offered", servers, rate, seconds)
        assert processes.said(asking) == "started"
        if kill:
            try:
                asking.wait(seconds / 2)
            except subprocess.TimeoutExpired:
                servers[0].process.kill()
        found: Row = json.loads(asking.communicate()[0])
        return found
