"""I1 to I5 in sixty simulated histories, and in those that once did not hold."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ONCE_FAILED = {
    48: "a gateway that took an idle client for gone detached the request it made next",
    53: "a store that was away for longer than the grace cost clients that never left their requests",
    63: "the same, with a result that had been delivered just before",
    1051: "a request cancelled while it was postponed was submitted again, and ran for nobody",
}
"""They tell other stories since there are more faults; what each found has a test of its own where it was mended."""
SEEDS_EACH, SHARES = 15, 4


def simulate(*arguments: str) -> None:
    """In a process of its own: its loop has no real time, and its sets have an order of their own."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", ONCE_FAILED, ids=str)
def test_i1_to_i5_a_history_that_once_failed_holds(seed: int) -> None:
    simulate("--seed", str(seed))


@pytest.mark.parametrize("share", range(SHARES))
def test_i1_to_i5_whatever_dies_is_lost_or_late_every_request_has_its_own_outcome_once(share: int) -> None:
    simulate("--first", str(10_000 + share * SEEDS_EACH), "--count", str(SEEDS_EACH))
