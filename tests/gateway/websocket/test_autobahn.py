"""The Autobahn test suite's cases for the protocol itself; `make autobahn` runs those of compression, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
GROUPS = "1 2 3 4 5 6 7 9 10"
NO_PYTHON_2 = 3
"""Exit status of tools/autobahn."""


@pytest.mark.timeout(900)
def test_every_case_of_the_autobahn_suite_passes() -> None:
    done = subprocess.run(["bash", "tools/autobahn", GROUPS], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == NO_PYTHON_2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
