"""``python -m bench.load.attacker PORT KIND``: an attacker that runs until it reads a line from standard input.

Then it prints a JSON object (`Attacks`). It runs at a lower scheduling priority than other processes, so that the
gateway's behaviour is measured and not the competition for processor time.
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
    """The results of one kind of attack: how often each outcome occurred, and the seconds of the run.

    ``begun`` counts attacks, every other key an outcome, in the words of `heard`.
    """

    counts: Counter[str]
    seconds: float

    @property
    def per_s(self) -> float:
        """The attacks per second."""
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
    """Attack until `is_over` returns true. A refused connection counts as ``refused``."""
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
    """Attack until a line or the end of standard input is read."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # also under real-time priority
    os.nice(NICE)
    stdin = select.poll()
    stdin.register(0, select.POLLIN)
    print("ready", flush=True)
    print(attack(int(sys.argv[1]), sys.argv[2], lambda: bool(stdin.poll(0))).as_json(), flush=True)


if __name__ == "__main__":
    main()
