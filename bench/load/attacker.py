"""``python -m bench.load.attacker PORT KIND``: an attacker that goes on until a line comes on standard input.

Then it answers with a JSON object (`Attacks`). It gives way to other processes: it is the gateway that is to be
measured, not who gets the processor of the load.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Self

from bench.load.attacks import ATTACKS_PER_S, BEGUN, KINDS, NOTHING

NICE = 10


@dataclass
class Attacks:
    """Of one kind: how often what happened, and the seconds that took.

    ``begun`` counts attacks, everything else how they ended, in the words of `heard`.
    """

    counts: Counter[str]
    seconds: float

    @property
    def per_s(self) -> float:
        """Attacks in a second."""
        return self.counts[BEGUN] / self.seconds

    def as_json(self) -> str:
        """One line."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse."""
        found = json.loads(text)
        return cls(Counter(found["counts"]), found["seconds"])


def attack(port: int, kind: str, is_over: Callable[[], bool]) -> Attacks:
    """Go on until it is over. A connection that is refused counts as ``refused``."""
    counts: Counter[str] = Counter()
    since_s = time.monotonic()
    while not is_over():
        try:
            with closing(KINDS[kind](port)) as steps:
                for happened in steps:
                    counts[happened] += 1
                    if is_over():
                        break
        except OSError:
            counts["refused"] += 1
            time.sleep(1 / ATTACKS_PER_S)
    del counts[NOTHING]
    return Attacks(counts, time.monotonic() - since_s)


def main() -> None:
    """Attack until a line comes, or standard input ends."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # also where all the rest runs at real-time priority
    os.nice(NICE)
    stdin = select.poll()
    stdin.register(0, select.POLLIN)
    print("ready", flush=True)
    print(attack(int(sys.argv[1]), sys.argv[2], lambda: bool(stdin.poll(0))).as_json(), flush=True)


if __name__ == "__main__":
    main()
