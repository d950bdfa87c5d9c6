"""What is asked of a store: every decision and every other call, in the ways that make a difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Attach,
    CancelRequest,
    Complete,
    Decision,
    Detach,
    GatewayPoll,
    LeaseRenewal,
    Offer,
    PutPart,
    ReadParts,
    Release,
)
from roost.wire.messages.outcome import Ending, Failure, Outcome
from tests.backend.store.comparison.states import ANN, BOB, CAT, NONCE

NEW_NONCE, NEXT_NONCE = b"8" * 16, b"9" * 16
OLD_TOKEN = 4


class Tick:
    """Time passes on: `Store.tick`."""


Question = Decision | LeaseRenewal | PutPart | ReadParts | GatewayPoll | Tick


@dataclass(frozen=True)
class Step:
    """Something that is asked. `ask` makes it, from the token that the first job has now."""

    name: str
    ask: Callable[[int], Question]
    is_decision: bool = True


def _offer(client: bytes = ANN, request: str = "r1", run: int = 1, **more: Any) -> Offer:
    plain = Offer(client, request, "g1", 3, "kind", b"spec%d" % run, b"run%d" % run, 300.0, 3600.0)
    return msgspec.structs.replace(plain, **more)


def _acquire(
    slots: int, *offers: Offer, master: str = "m1", nonce: bytes = NEW_NONCE, running: int = 0
) -> Callable[[int], Question]:
    return lambda _: Acquire(master, nonce, slots, list(offers), running)


def _complete(ending: Ending, token: int | None = None, job: int = 1) -> Callable[[int], Question]:
    return lambda current: Complete(job, current if token is None else token, ending)


def _say(question: Question) -> Callable[[int], Question]:
    return lambda _: question


NEW = _offer(CAT, run=7)
JOINING = _offer(CAT, run=1)
FAILURE = Ending(Outcome.FAILED, 0, 1, b"{}", Failure("bad_content", "no page"))

ACQUIRES = [
    Step("acquire nothing", _acquire(0)),
    Step("acquire one", _acquire(1)),
    Step("acquire two", _acquire(2)),
    Step("acquire one by another", _acquire(1, master="m2", nonce=NEXT_NONCE)),
    Step("acquire one beside a job", _acquire(1, running=1)),
    Step("acquire two beside a job by another", _acquire(2, master="m2", nonce=NEXT_NONCE, running=1)),
    Step("acquire one again", _acquire(1, nonce=NONCE)),
    Step("acquire two again", _acquire(2, nonce=NONCE)),
    Step("acquire again without slots", _acquire(0, nonce=NONCE)),
    Step("acquire again by another", _acquire(1, nonce=NONCE, master="m2")),
    Step("offer a new one", _acquire(1, NEW)),
    Step("offer a new one without slots", _acquire(0, NEW)),
    Step("offer an urgent one", _acquire(1, msgspec.structs.replace(NEW, priority=9))),
    Step("offer a new one beside a job", _acquire(2, NEW, running=1)),
    Step("offer the known one", _acquire(1, _offer())),
    Step("offer the known one without slots", _acquire(0, _offer())),
    Step("offer the known one over an older connection", _acquire(0, _offer(epoch=2, gateway="g3"))),
    Step("offer the known one over a newer connection", _acquire(0, _offer(epoch=4, gateway="g3"))),
    Step("offer another under its id", _acquire(1, _offer(run=7))),
    Step("offer another under its id over an older connection", _acquire(0, _offer(run=7, epoch=2, gateway="g3"))),
    Step("offer one that joins", _acquire(1, JOINING)),
    Step("offer one that joins, by another", _acquire(1, JOINING, master="m2", nonce=NEXT_NONCE)),
    Step("offer one for which the run is too old", _acquire(1, msgspec.structs.replace(JOINING, fresh_s=1.0))),
    Step("offer one over the limit", _acquire(1, _offer(request="r2", run=7))),
    Step("offer one that joins over the limit", _acquire(1, _offer(request="r2"))),
    Step("offer two of a client", _acquire(2, NEW, _offer(CAT, "r2", run=8))),
    Step("offer two that join", _acquire(2, JOINING, _offer(BOB, "r9"))),
]
OTHERS = [
    Step("complete as done", _complete(Ending(Outcome.DONE, 0, 1, b"{}"))),
    Step("complete as done without parts", _complete(Ending(Outcome.DONE))),
    Step("complete as failed", _complete(FAILURE)),
    Step("complete as cancelled", _complete(Ending(Outcome.CANCELLED))),
    Step("complete as expired", _complete(Ending(Outcome.EXPIRED, 0, 1))),
    Step("complete under an old token", _complete(Ending(Outcome.DONE), OLD_TOKEN)),
    Step("complete under the first token", _complete(Ending(Outcome.DONE), 5)),
    Step("complete the other", _complete(Ending(Outcome.DONE), 5, job=2)),
    Step("release", lambda token: Release(1, token)),
    Step("release under an old token", _say(Release(1, OLD_TOKEN))),
    Step("attach", _say(Attach(ANN, 3, "g1", ["r1"]))),
    Step("attach over a newer connection", _say(Attach(ANN, 4, "g2", ["r1"]))),
    Step("attach over an older connection", _say(Attach(ANN, 2, "g3", ["r1"]))),
    Step("attach two", _say(Attach(ANN, 4, "g2", ["r1", "r9", "r1"]))),
    Step("attach one that is new", _say(Attach(CAT, 3, "g3", ["r1"]))),
    Step("detach", _say(Detach("g1", [ANN, BOB]))),
    Step("detach a connection of before", _say(Detach("g1", [ANN], 2))),
    Step("detach a request", _say(Detach("g1", [ANN], 3, ["r1"]))),
    Step("detach another request", _say(Detach("g1", [ANN], 3, ["r2"]))),
    Step("detach from elsewhere", _say(Detach("g2", [ANN, BOB]))),
    Step("acknowledge", _say(Acknowledge(ANN, "r1"))),
    Step("acknowledge one that is new", _say(Acknowledge(CAT, "r1"))),
    Step("cancel", _say(CancelRequest(ANN, "r1"))),
    Step("cancel another's", _say(CancelRequest(BOB, "r1"))),
    Step("cancel one that is new", _say(CancelRequest(CAT, "r1"))),
]
DECISIONS = ACQUIRES + OTHERS
CALLS = [
    Step("renew", lambda token: LeaseRenewal(1, token, 1, progress=b"q"), False),
    Step("renew with a new level", lambda token: LeaseRenewal(1, token, 2, progress=b"q"), False),
    Step("renew under an old token", _say(LeaseRenewal(1, OLD_TOKEN, 2)), False),
    Step("put a part", lambda token: PutPart(1, token, 1, b"more"), False),
    Step("put a part again", lambda token: PutPart(1, token, 0, b"again"), False),
    Step("put a part under an old token", _say(PutPart(1, OLD_TOKEN, 0, b"late")), False),
    Step("read parts", lambda token: ReadParts(1, token, 0, 9), False),
    Step("poll", _say(GatewayPoll("g1")), False),
    Step("poll elsewhere", _say(GatewayPoll("g2")), False),
    Step("tick", _say(Tick()), False),
]
STEPS = DECISIONS + CALLS
