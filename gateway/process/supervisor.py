"""Many processes: a parent that imports everything once, forks, and keeps its children alive.

Python uses one core; a machine has several. Forking after the imports lets the children share the pages of the code
(`gc.freeze` keeps the collector from writing to them). Each child is a gateway of its own, with its own
port, its own registration and its own capacity, and discovery spreads clients over them by their load. Where only one
port gets through, `--shared-port` has the kernel deal connections out (SO_REUSEPORT): by a hash, blind to load, so that
with few clients some processes get twice the share of others, and a full one refuses what its neighbour could hold.

A child that dies is started again, at once at first and with growing pauses when it keeps dying. SIGTERM and SIGINT
reach every child, and so does SIGHUP; the parent ends when the last child has.
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
"""A child that lived this long had a good start: the next pause is the first one again."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HANDLED = frozenset((*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD))


@dataclass
class ProcessSlot:
    """One place in the family. `pid` is 0 while it is empty; then it is filled at `due_s` (monotonic)."""

    pid: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S

    def died(self, now_s: float) -> None:
        """Decide when to fill the place again."""
        if now_s - self.started_s >= STEADY_S:
            self.pause_s = FIRST_PAUSE_S
        self.pid, self.due_s = 0, now_s + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)


class Supervisor:
    """`count` children, each of which does `run_process(index)` and ends with the status that this gives."""

    def __init__(self, count: int, run_process: Callable[[int], int], clock: Clock) -> None:
        self._slots = [ProcessSlot() for _ in range(count)]
        self._run_process = run_process
        self._clock = clock
        self._kill_at_s: float | None = None
        """When children that are still there will be killed; None while nobody asked for an end."""

    def run(self, end_s: float) -> int:
        """Be the parent until a signal ends the family, within `end_s` of it; the exit status."""
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
        """Start the children whose time has come."""
        for index, slot in enumerate(self._slots):
            if not slot.pid and self._clock.monotonic() >= slot.due_s:
                slot.started_s = self._clock.monotonic()
                slot.pid = os.fork() or self._run_child(index, mask)

    def _run_child(self, index: int, mask: Iterable[int]) -> int:
        """The child's life; never returns."""
        status = 70
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            status = self._run_process(index)
        except BaseException:
            log.exception("process failed", extra={"action": "process_failed", "index": index})
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Take note of every child that has died."""
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
