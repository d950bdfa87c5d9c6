"""Handling of standard streams that are closed at the start or while the command runs."""

from __future__ import annotations

import os
import sys
from typing import IO, Any


def open_standard_streams() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next socket or file would become "standard output", and libuv aborts the process when it closes a
    descriptor that low. If `sys.stdout` is None it stays None, so that a result is not lost without an error.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # becomes the lowest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  it stays open


def silence(stream: IO[Any]) -> None:
    """Redirect a failed stream to the null device, so that its buffered data does not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
