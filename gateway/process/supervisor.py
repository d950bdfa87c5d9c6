"""Runs several gateway processes: a parent imports everything once, forks, and restarts children that die.

Python uses one core; a machine has several. Forking after the imports lets the children share the memory pages of the
code (`gc.freeze` keeps the garbage collector from writing to them). Each child is a gateway with its own port,
registration and capacity, and discovery distributes clients over them by load. Where only one port can be used,
`--shared-port` makes the kernel distribute connections (SO_REUSEPORT): by a hash, without regard to load. With few
clients some processes then get twice the share of others, and a full process refuses clients that another could hold.

A child that dies is restarted, with growing delays if it keeps dying. SIGTERM, SIGINT and SIGHUP are forwarded to every
child; the parent exits after the last child.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from roost.wire.clock import Clock

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A child that lived this long started well: the next delay is the first one again."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HANDLED = frozenset((*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD))


@dataclass
class ProcessSlot:
    """One child process. `pid` is 0 while none runs; then it is started at `due_s` (monotonic)."""

    pid: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S

    def died(self, now_s: float) -> None:
        """Record that the child died, and set when it is restarted."""
        if now_s - self.started_s >= STEADY_S:
            self.pause_s = FIRST_PAUSE_S
        self.pid, self.due_s = 0, now_s + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)


class Supervisor:
    """Runs `count` children; each executes `run_process(index)` and exits with the status that it returns."""

    def __init__(self, count: int, run_process: Callable[[int], int], clock: Clock) -> None:
        self._slots = [ProcessSlot() for _ in range(count)]
        self._run_process = run_process
        self._clock = clock
        self._kill_at_s: float | None = None
        """Time at which remaining children are killed; None until a stop signal was received."""

    def run(self, end_s: float) -> int:
        """Supervise until a stop signal; then end within `end_s` seconds. Returns the exit status."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        gc.collect()
        gc.freeze()
        while True:
            if self._kill_at_s is None:
                self._start_due(before)
            elif not any(slot.pid for slot in self._slots):
                return 0
            elif self._clock.monotonic() > self._kill_at_s:
                self._send(signal.SIGKILL)
            received = signal.sigtimedwait(_HANDLED, 0.2)
            if received is not None and received.si_signo in _STOP_SIGNALS:
                self._kill_at_s = self._clock.monotonic() + end_s
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._send(signal.Signals(received.si_signo))
            self._reap()

    def _start_due(self, mask: Iterable[int]) -> None:
        """Start the children that are due."""
        for index, slot in enumerate(self._slots):
            if not slot.pid and self._clock.monotonic() >= slot.due_s:
                slot.started_s = self._clock.monotonic()
                slot.pid = os.fork() or self._run_child(index, mask)

    def _run_child(self, index: int, mask: Iterable[int]) -> int:
        """Run the child process; never returns."""
        status = 70
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            status = self._run_process(index)
        except BaseException:
            log.exception("process failed", extra={"action": "process_failed", "index": index})
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Reap every child that has died."""
        for index, slot in enumerate(self._slots):
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if not pid:
                continue
            slot.died(self._clock.monotonic())
            if self._kill_at_s is None:
                how = {"index": index, "status": os.waitstatus_to_exitcode(status)}
                log.warning("process died", extra={"action": "process_died", **how})

    def _send(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)
