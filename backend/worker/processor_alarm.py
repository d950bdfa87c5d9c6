"""Ends a worker process in which code never releases the interpreter lock (GIL), such as an endless regular expression.

In that state no Python code can run in any thread, so the watchdog thread cannot act. Therefore the kernel measures the
time (setitimer(2)) and sends a signal when this process has used a given processor time since the alarm was last
postponed. The signal is handled in C: `faulthandler` writes the stack of each thread to standard error, and then
`_exit` of the C library, which was installed as a signal handler before, ends the process. The default action of the
signal would not be enough: the kernel does not apply it to process 1, which a worker is in its container.

Processor time is the right measure: code that holds the lock and computes uses it, and a process that is stopped or
starved does not. Code that holds the lock and sleeps (a fault of an extension module) is not found. The process does
not end while its standard error is a full pipe that no process reads.
"""

from __future__ import annotations

import ctypes
import faulthandler
import signal

SIGNAL = signal.SIGPROF
EXIT_STATUS = int(SIGNAL)
"""Exit status of the process: the C library calls the handler `_exit` with the number of the signal."""
_STANDARD_ERROR = 2


def prepare(ends: bool) -> None:
    """Set what the alarm does in this process: write the stacks, and also end the process if `ends`."""
    if ends:
        faulthandler.unregister(SIGNAL)
        library = ctypes.CDLL(None)
        library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        library.signal(SIGNAL, ctypes.cast(library._exit, ctypes.c_void_p))
    faulthandler.register(SIGNAL, file=_STANDARD_ERROR, chain=ends)


def put_off(seconds: float) -> None:
    """Set the alarm to when the process has used `seconds` more of processor time, and then to repeat so."""
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)


def cancel() -> None:
    """Cancel the alarm."""
    signal.setitimer(signal.ITIMER_PROF, 0)
