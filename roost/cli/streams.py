"""The standard streams, for a command whose caller may have closed them or stops listening."""

from __future__ import annotations

import os
import sys
from typing import IO, Any


def open_standard_streams() -> None:
    """Put the null device where descriptor 0, 1 or 2 is closed.

    Otherwise the next socket or file becomes "standard output", and libuv aborts the process when it closes a
    descriptor that low. `sys.stdout` stays None where it is: a result must not vanish unnoticed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # becomes the lowest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  it is for good


def silence(stream: IO[Any]) -> None:
    """What `stream` still holds and all that follows goes nowhere: it failed, and would fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
