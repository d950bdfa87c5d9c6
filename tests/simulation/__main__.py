"""``python -m tests.simulation``: more seeds than a test run has time for, or one again with all that happened."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.world import run

FIXED = {"PYTHONHASHSEED": "0"}
"""Sets of bytes are walked in an order that hangs on this; with it, a seed always tells the same story."""


def say(*lines: object) -> None:
    """At once, for long runs are watched."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def main() -> int:
    """0 when all seeds hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one, and tell what happened in it")
    parser.add_argument("--first", type=int, default=0, help="first of many [0]")
    parser.add_argument("--count", type=int, default=1000, help="how many [1000]")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != FIXED["PYTHONHASHSEED"]:
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, **FIXED})
    if options.seed is not None:
        say(*run(options.seed).happened)
        return 0
    begun, failed = time.monotonic(), 0
    for seed in range(options.first, options.first + options.count):
        try:
            run(seed)
        except AssertionError as problem:
            failed += 1
            say(problem)
        if (seed + 1 - options.first) % 100 == 0:
            say(f"{seed + 1 - options.first} seeds, {failed} failed")
    say(f"{options.count} seeds in {time.monotonic() - begun:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
