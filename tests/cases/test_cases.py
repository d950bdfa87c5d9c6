"""What users of such programs ran into, one script each: it prints PASS or FAIL, and what came (see `make cases`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHARED = {"raw_site.py", "caseapps.py", "common.py", "disc_all.py"}
SCRIPTS = sorted(path for path in HERE.glob("*/*.py") if path.name not in SHARED)
PATIENCE_S = 100.0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_users_ran_into_stays_mended(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, script],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ROOST_")},
            "ROOST": str(Path(sys.executable).with_name("roost")),
            "ROOST_PY": sys.executable,
            "ROOST_ROOT": str(ROOT),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS"), done.stdout + done.stderr
