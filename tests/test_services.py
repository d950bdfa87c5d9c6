"""What the tests start is gone when they are, and what they lack is said."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from unittest import SkipTest

import pytest

from bench.support import services
from bench.support.waiting import until

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parent.parent
KILLED = """
import os, signal
from bench.support import services
redis = services.redis()
print(redis.port, redis.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_killed_test_run_leaves_no_server_and_no_folder() -> None:
    services.redis()  # or be skipped here
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    port, folder = (await run.communicate())[0].decode().split()

    def is_gone() -> bool:
        try:
            services.say(int(port), b"PING\r\n")
        except OSError:
            return not Path(folder).exists()
        return False

    await until(is_gone)


def test_what_is_missing_is_skipped_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    services.need(True, "package-x")
    with pytest.raises(SkipTest, match="package-x"):
        services.need(False, "package-x")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(services.ServiceError, match="package-x"):
        services.need(False, "package-x")
