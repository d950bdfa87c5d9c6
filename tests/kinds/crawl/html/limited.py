"""Work in a process whose processor time is bounded: a bound on work, wherever it runs and whatever else does."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import traceback
from collections.abc import Callable


def _limited(limit_s: int, work: Callable[[], None]) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + limit_s
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    try:
        work()
    except BaseException:
        traceback.print_exc()
        raise


def in_seconds(limit_s: int, work: Callable[[], None]) -> None:
    """Fail unless `work`, a function of a module, ends without an exception within these processor seconds."""
    process = multiprocessing.get_context("spawn").Process(target=_limited, args=(limit_s, work))
    process.start()
    process.join()
    assert process.exitcode != -signal.SIGXCPU, f"it takes more than {limit_s} s of processor time"
    assert process.exitcode == 0
