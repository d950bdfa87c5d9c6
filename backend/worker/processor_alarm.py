"""A last resort against code that never lets go of the interpreter's lock: an endless regular expression, for one.

No Python code runs then, in any thread. So the kernel keeps the time (setitimer(2)) and signals when this process has
used so much processor time since the alarm was last put off, and what happens at the signal is written in C:
`faulthandler` writes the stack of each thread to standard error, and `_exit` of the C library, installed as the handler
before, ends the process. The default action of the signal would not do: the kernel spares process 1, which a part is in
its container.

Processor time is right here, because code that holds the lock and does not wait uses it, and a process that is stopped,
or starved, does not. Code that holds the lock and sleeps, a fault in an extension module, is not found. The process
does not end while nobody reads its standard error and the pipe is full.
"""

from __future__ import annotations

import ctypes
import faulthandler
import signal

SIGNAL = signal.SIGPROF
EXIT_STATUS = int(SIGNAL)
"""With which the process ends: the C library calls a handler with the number of the signal."""
_STANDARD_ERROR = 2


def prepare(ends: bool) -> None:
    """Choose what a later alarm does in this process: write the stacks, and end the process if it `ends`."""
    if ends:
        faulthandler.unregister(SIGNAL)
        library = ctypes.CDLL(None)
        library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        library.signal(SIGNAL, ctypes.cast(library._exit, ctypes.c_void_p))
    faulthandler.register(SIGNAL, file=_STANDARD_ERROR, chain=ends)


def put_off(seconds: float) -> None:
    """Give the alarm when the process has used so much more processor time, and each time that it has again."""
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)


def cancel() -> None:
    """No alarm any more."""
    signal.setitimer(signal.ITIMER_PROF, 0)
