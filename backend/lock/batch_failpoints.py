"""Failpoints before and after the transaction of a batch of decisions: tests can stop a lock server exactly there.

`roost.wire.failpoints` describes failpoints. They are off in normal operation, and then the batch is not inspected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roost.wire.failpoints import Point, are_armed, reach
from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Acquired,
    Answer,
    Attach,
    CancelRequest,
    Complete,
    Decision,
    Release,
)

_POINTS: Mapping[type, tuple[Point, Point]] = {
    Acquire: (Point.ACQUIRE_RECEIVED, Point.ACQUIRE_COMMITTED),
    Complete: (Point.COMPLETE_RECEIVED, Point.COMPLETE_COMMITTED),
    Release: (Point.RELEASE_RECEIVED, Point.RELEASE_COMMITTED),
    Attach: (Point.RESUME_RECEIVED, Point.RESUME_COMMITTED),
    Acknowledge: (Point.ACK_RECEIVED, Point.ACK_COMMITTED),
    CancelRequest: (Point.CANCEL_RECEIVED, Point.CANCEL_COMMITTED),
}


def have_received(decisions: Sequence[Decision]) -> None:
    """Reach the failpoints before the transaction.

    An acquire counts only when it carries offers, because masters ask without any once a second.
    """
    for decision in decisions if are_armed() else ():
        if type(decision) in _POINTS and not (isinstance(decision, Acquire) and not decision.offers):
            reach(_POINTS[type(decision)][0])


def have_committed(decisions: Sequence[Decision], answers: Sequence[Answer]) -> None:
    """Reach the failpoints after the transaction. An acquire counts when it carried offers or was granted a job."""
    for decision, answer in zip(decisions, answers, strict=True) if are_armed() else ():
        is_idle = isinstance(answer, Acquired) and not answer.grants
        if type(decision) in _POINTS and not (isinstance(decision, Acquire) and not decision.offers and is_idle):
            reach(_POINTS[type(decision)][1])
