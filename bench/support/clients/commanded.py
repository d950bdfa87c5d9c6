"""The loop of a load process that serves many connections and is commanded by lines on standard input."""

from __future__ import annotations

import resource
import select
import sys
from collections.abc import Callable

TURN_S = 0.02
"""Between two looks for a command."""


def run(serve: Callable[[float], None], obey: Callable[[list[str]], str]) -> None:
    """Serve, and answer each line of words with a line, until standard input ends. Takes all descriptors it can get."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    commands = select.poll()
    commands.register(0, select.POLLIN)
    while True:
        serve(TURN_S)
        if not commands.poll(0):
            continue
        words = sys.stdin.readline().split()
        if not words:
            return
        print(obey(words), flush=True)
