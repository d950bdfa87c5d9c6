"""``python -m tests.backend.store.every_state``: all states, all calls, all orders of two. Status 1 if they differ."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from bench.support import services
from tests.backend.store.every_state.comparison import Comparison, pairs, singles
from tests.backend.store.every_state.states import SECOND, states

MOST_SHOWN = 40


async def run(stride: int) -> int:
    """Compare every `stride`th state of each kind; return how many cases differ."""
    server = services.postgres()
    comparison = Comparison(server.url(server.database()))
    await comparison.start()
    start, differing = time.monotonic(), 0
    plans = ((list(states(tuple(SECOND))), singles()), (list(states(others=("",))), pairs()))
    for every, cases in plans:
        for number, state in enumerate(every):
            if number % stride:
                continue
            for difference in await comparison.compare(state, cases):
                differing += 1
                if differing <= MOST_SHOWN:
                    _say(str(difference))
        so_far = f"so far {comparison.count:,} in {time.monotonic() - start:,.0f} s"
        _say(f"{len(every):,} states, {len(cases):,} cases in each: {so_far}")
    await comparison.stop()
    _say(f"{comparison.count:,} cases compared, {differing:,} differ")
    return differing


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.backend.store.every_state", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--stride", type=int, default=1, help="only every Nth state [1]")
    sys.exit(1 if asyncio.run(run(parser.parse_args().stride)) else 0)


if __name__ == "__main__":
    main()
