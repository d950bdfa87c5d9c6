"""Named points in the code at which a test can stop this process, to kill it or another one exactly there.

Failpoints are off, and cost one comparison each, unless ``ROOST_FAILPOINTS`` names a folder when the process starts.
``touch FOLDER/complete.committed`` then requests a stop at that point, at any time. The first process that reaches the
point renames the file to ``NAME.stopped.PID`` and stops itself with SIGSTOP, with all its threads, before its next
instruction; SIGCONT lets it go on. Many processes may share a folder: each file stops one of them.

`Point` lists all points. The name of a point is ``step.progress``: a step of a job, and how far that step is. The most
common kinds of progress are ``begun`` (before another component is asked to do the step), ``received`` and
``committed`` (in the lock server, before and after its transaction) and ``answered`` (in the asking component, when the
answer has come; only ``read.answered`` is in the lock server, before it sends what it has read).
"""

from __future__ import annotations

import logging
import os
import signal
from enum import StrEnum
from pathlib import Path

from roost.wire.errors import Misuse

log = logging.getLogger(__name__)

VARIABLE = "ROOST_FAILPOINTS"
STOPPED = ".stopped."


class Point(StrEnum):
    """All failpoints, grouped by the component that reaches them."""

    # gateway
    SUBMIT_BEGUN = "submit.begun"
    SUBMIT_PUBLISHED = "submit.published"
    SUBMIT_ACCEPTED = "submit.accepted"
    KNOCK_TAKEN = "knock.taken"
    DELIVERY_BEGUN = "delivery.begun"
    DELIVERY_PART = "delivery.part"
    DELIVERY_SENT = "delivery.sent"
    ACK_BEGUN = "ack.begun"
    ACK_ANSWERED = "ack.answered"
    RESUME_BEGUN = "resume.begun"
    RESUME_ANSWERED = "resume.answered"
    CANCEL_BEGUN = "cancel.begun"
    CANCEL_ANSWERED = "cancel.answered"
    # lock server
    ACQUIRE_RECEIVED = "acquire.received"
    ACQUIRE_COMMITTED = "acquire.committed"
    BEAT_RECEIVED = "beat.received"
    BEAT_COMMITTED = "beat.committed"
    PART_RECEIVED = "part.received"
    PART_COMMITTED = "part.committed"
    COMPLETE_RECEIVED = "complete.received"
    COMPLETE_COMMITTED = "complete.committed"
    RELEASE_RECEIVED = "release.received"
    RELEASE_COMMITTED = "release.committed"
    READ_RECEIVED = "read.received"
    READ_ANSWERED = "read.answered"
    ACK_RECEIVED = "ack.received"
    ACK_COMMITTED = "ack.committed"
    RESUME_RECEIVED = "resume.received"
    RESUME_COMMITTED = "resume.committed"
    CANCEL_RECEIVED = "cancel.received"
    CANCEL_COMMITTED = "cancel.committed"
    SWEEP_RECEIVED = "sweep.received"
    SWEEP_COMMITTED = "sweep.committed"
    # master
    OFFER_TAKEN = "offer.taken"
    ACQUIRE_ANSWERED = "acquire.answered"
    OFFER_ACKNOWLEDGED = "offer.acknowledged"
    TASKS_BEGUN = "tasks.begun"
    TASKS_PUBLISHED = "tasks.published"
    RESULT_TAKEN = "result.taken"
    RESULT_FOLDED = "result.folded"
    LEVEL_TOLD = "level.told"
    BEAT_BEGUN = "beat.begun"
    BEAT_ANSWERED = "beat.answered"
    PART_BEGUN = "part.begun"
    PART_ANSWERED = "part.answered"
    COMPLETE_BEGUN = "complete.begun"
    COMPLETE_ANSWERED = "complete.answered"
    KNOCK_SENT = "knock.sent"
    CANCEL_HEARD = "cancel.heard"
    RELEASE_BEGUN = "release.begun"
    RELEASE_ANSWERED = "release.answered"
    # worker
    TASK_TAKEN = "task.taken"
    TASK_DONE = "task.done"
    RESULT_PUBLISHED = "result.published"
    TASK_ACKNOWLEDGED = "task.acknowledged"


_folder: Path | None = None


def arm(value: str) -> None:
    """Use the folder that the variable names; "" is none. Raises Misuse for a value that can stop nothing."""
    global _folder
    _folder = Path(value) if value else None
    if _folder is None:
        return
    if not _folder.is_dir():
        raise Misuse(f"{VARIABLE} names no folder: {_folder}")
    asked = {file.name.partition(STOPPED)[0] for file in _folder.iterdir()}
    if unknown := asked - set(Point):
        raise Misuse(f"no failpoint is called {', '.join(sorted(unknown))}: there are {', '.join(Point)}")
    log.warning("failpoints are armed: this process may stop itself", extra={"action": "failpoints"})


def are_armed() -> bool:
    """Whether failpoints are on, for code that must do work to find out which point it has reached."""
    return _folder is not None


def reach(point: Point) -> None:
    """Stop here if a test asked for it; returns when the process goes on."""
    if _folder is not None and _take(_folder, point):
        log.warning("stopped at a failpoint", extra={"action": "failpoint", "point": point})
        os.kill(os.getpid(), signal.SIGSTOP)


def _take(folder: Path, point: Point) -> bool:
    """Whether the file was there and this process was the first to rename it."""
    try:
        os.rename(folder / point, folder / f"{point}{STOPPED}{os.getpid()}")
    except FileNotFoundError:
        return False
    return True
