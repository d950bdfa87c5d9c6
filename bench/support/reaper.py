"""Ends what a test run started, also when the run itself was killed: ``python reaper.py``.

It reads lines from standard input, which only the run holds open: ``group NUMBER`` is a process group to kill, unless
``ended NUMBER`` follows, ``folder PATH`` a folder to remove. At the end of input it does so and exits.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from functools import cache


class Reaper:
    """The process that cleans up after this one."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        atexit.register(self._end)

    def tell(self, what: str, value: object) -> None:
        """Send one of the commands: group, ended or folder."""
        assert self._process.stdin is not None
        print(what, value, file=self._process.stdin, flush=True)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@cache
def reaper() -> Reaper:
    """Return the reaper of this test run."""
    return Reaper()


def main() -> None:
    """Wait for the end of input, then clear up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; its end is heard of through standard input
    groups: set[int] = set()
    folders: set[str] = set()
    for line in sys.stdin:
        what, _, value = line.rstrip("\n").partition(" ")
        if what == "folder":
            folders.add(value)
        elif what == "group":
            groups.add(int(value))
        else:
            groups.discard(int(value))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
