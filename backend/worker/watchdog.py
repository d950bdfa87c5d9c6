"""A thread that detects when the event loop of a worker is stalled, and names the task that blocks it.

A task that computes without end, or waits without `await`, blocks the whole worker: deadlines are missed, no result is
sent, and no other worker gets the tasks in hand. Code on the loop cannot detect this. A process that is only a worker
is ended: its supervisor starts another one, and the broker delivers its tasks again. That counts as a death for each of
them (P21), so that in the end the faulty task is recorded as failed. A process that also runs other services continues,
and logs a line every few seconds.

The loop is stalled when it does not answer and still executes the same step of the same asyncio task. Many tasks that
block for a second each make a worker slow, but do not end it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from roost.backend.worker import processor_alarm
from roost.backend.worker.current_task import describe, task_on
from roost.backend.worker.processor_alarm import EXIT_STATUS
from roost.backend.worker.stall_detector import LOOK_S, StallDetector
from roost.wire.errors import Misuse
from roost.wire.messages.work import Task

log = logging.getLogger(__name__)

END_AFTER_S = 5
"""Default limit (seconds) of a worker process. Discovery removes it after 3 s without a heartbeat. RabbitMQ closes its
connection, and takes back all its messages, only after about 20 s; until then its other tasks would wait."""
TELL_EVERY_S = 5
"""Time (seconds) between two log lines about a stalled loop whose process is not ended."""
LOG_WITHIN_S = 2.0
"""Time for the last log line: the program that reads the log may be stuck too."""
ALARM_WHILE_LOGGING_S = 10 * LOG_WITHIN_S
"""The alarm writes to standard error first; a stuck reader of it would keep the process from ending."""
FRAMES, TASKS = 8, 8
"""Logged: innermost frames of the stack, and tasks in hand when it is not known which of them blocks the loop."""


class Watchdog:
    """A `Service` that watches the event loop on which it was started.

    `in_hand` returns the worker's tasks. `end_after_s`: how long one step of the loop may take before the process is
    ended with `EXIT_STATUS`; with None it is never ended, and a line is logged every `TELL_EVERY_S`. Raises Misuse for
    less than a second.
    """

    def __init__(self, in_hand: Callable[[], Iterable[Task]], end_after_s: float | None = None) -> None:
        if end_after_s is not None and end_after_s < 1:
            raise Misuse("a worker's event loop may stand still for at least a second")
        self._in_hand, self._ends = in_hand, end_after_s is not None
        self._bound_s = TELL_EVERY_S if end_after_s is None else end_after_s
        # Threads that release the interpreter's lock use processor time side by side between two looks.
        self._alarm_s = max(self._bound_s, 2 * LOOK_S * (os.cpu_count() or 1))
        self._stall_detector = StallDetector(self._bound_s)
        self._probe_count = self._answer_count = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._stopped.clear()
        processor_alarm.prepare(self._ends)
        processor_alarm.put_off(self._alarm_s)  # here, because the first task may block before the thread runs
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    async def drain(self) -> None:
        """Do nothing: tasks still run, and may still block."""

    async def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopped.set()
            thread.join(LOG_WITHIN_S)
            processor_alarm.cancel()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S):
            processor_alarm.put_off(self._alarm_s)
            try:
                is_still = self._stall_detector.look(self._mark())
            except RuntimeError:  # the loop was closed before `stop` was called
                processor_alarm.cancel()
                return
            if is_still and self._ends:
                self._end()
            elif is_still:
                self._log_stall()

    def _mark(self) -> object:
        """Return how often the loop has answered and what it executes. A loop that has answered gets a new callback."""
        mark = self._answer_count, id(asyncio.current_task(self._loop))
        if self._answer_count == self._probe_count:
            self._probe_count += 1
            self._loop.call_soon_threadsafe(self._answer)
        return mark

    def _answer(self) -> None:
        self._answer_count += 1

    def _log_stall(self) -> None:
        log.warning("event loop stalled", extra={"action": "loop_still", **self._findings()})

    def _end(self) -> None:
        """End the process at once, after one log line: an orderly stop would need the loop."""
        processor_alarm.put_off(ALARM_WHILE_LOGGING_S)
        logging_thread = threading.Thread(target=self._log_stuck, daemon=True)
        logging_thread.start()
        logging_thread.join(LOG_WITHIN_S)
        os._exit(EXIT_STATUS)

    def _log_stuck(self) -> None:
        extra = {"action": "worker_stuck", **self._findings(), "status": EXIT_STATUS}
        log.error("event loop stalled, ending this worker", extra=extra)

    def _findings(self) -> dict[str, Any]:
        found: dict[str, Any] = {"still_s": self._stall_detector.still_s}
        if (task := task_on(self._loop)) is not None:
            found |= {"job": task.job, "task": task.task, "kind": task.kind}
        else:
            found["in_hand"] = ", ".join(map(describe, list(self._in_hand())[:TASKS]))
        return found | {"stack": self._stack()}

    def _stack(self) -> str:
        """Return the stack of the loop's thread, innermost frame first."""
        frame = sys._current_frames().get(self._loop_thread)
        places: list[str] = []
        while frame is not None and len(places) < FRAMES:
            places.append(f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})")
            frame = frame.f_back
        return " < ".join(places)
